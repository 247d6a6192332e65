"""Sessions: what they hang on, and what happens to their locks when they end."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from kv.keys import Keys
from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.catalog import HealthCheck
from model.structs.session import Session, SessionRequest
from model.tables import Indexes, Journal, Table, Watch

SESSIONS = "sessions"
RELEASE = "release"
DELETE = "delete"
SECOND = 1_000_000_000


class Health(Protocol):
    """What sessions ask of the catalog."""

    def has_node(self, node: str) -> bool:
        """Whether the node is registered."""

    def check(self, node: str, check_id: str) -> HealthCheck | None:
        """A check of a node."""


class Sessions:
    """All sessions. `clock` gives seconds and only serves lock delays, which are not replicated."""

    def __init__(
        self, journal: Journal, indexes: Indexes, health: Health, keys: Keys, clock: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._indexes = indexes
        self._health = health
        self._keys = keys
        self._clock = clock
        self.on_destroy: list[Callable[[int, str], None]] = []
        self.rows: Table[Session] = Table(
            journal,
            lambda row: row.id,
            node=lambda row: (row.node.lower(),),
            check=lambda row: [(row.node.lower(), check_id) for check_id in checks_of(row)],
        )

    def commands(self) -> list[Command]:
        """Creating and destroying sessions."""
        return [Command(CommandType.SESSION, SessionRequest, self.apply)]

    def records(self) -> list[Record]:
        """The sessions."""
        return [Record(CommandType.SESSION, Session, self.rows.captured, self._load)]

    def _load(self, row: Session) -> None:
        self.rows.put(row)
        self._indexes.raise_to(row.modify_index, SESSIONS)

    def apply(self, index: int, request: SessionRequest) -> str:
        """Carry out a command; returns the ID of a new session. Raises RpcError."""
        if request.op == "create":
            return self.create(index, request.session)
        if request.op == "destroy":
            self.destroy(index, request.session.id)
            return ""
        raise RpcError(f"Invalid session operation '{request.op}'")

    def get(self, session_id: str, watch: Watch | None = None) -> tuple[Session | None, int]:
        """A session and the index to wait from."""
        if watch is not None:
            watch.note(("session", session_id))
        row = self.rows.get(session_id)
        return row, row.modify_index if row else self._indexes.get(SESSIONS)

    def all(self, watch: Watch | None = None) -> tuple[list[Session], int]:
        """All sessions."""
        if watch is not None:
            watch.note((SESSIONS,))
        return self.rows.rows(), self._indexes.get(SESSIONS)

    def of_node(self, node: str, watch: Watch | None = None) -> tuple[list[Session], int]:
        """The sessions of a node."""
        if watch is not None:
            watch.note(("node-sessions", node.lower()))
        return self.rows.by("node", node.lower()), self._indexes.get(SESSIONS)

    def create(self, index: int, session: Session) -> str:
        """Make a session and return its ID. Raises RpcError when something that it hangs on is not healthy."""
        if not session.id:
            raise RpcError("Missing session ID")
        behavior = session.behavior or RELEASE
        if behavior not in (RELEASE, DELETE):
            raise RpcError(f"Invalid session behavior: {behavior}")
        if not self._health.has_node(session.node):
            raise RpcError("Missing node registration")
        for check_id in checks_of(session):
            if not check_id:
                raise RpcError("failed check lookup: index error: object is missing a value for this index")
            check = self._health.check(session.node, check_id)
            if check is None:
                raise RpcError(f"Missing check '{check_id}' registration")
            if check.status == "critical":
                raise RpcError(f"Check '{check_id}' is in {check.status} state")
        row = msgspec.structs.replace(session, behavior=behavior, create_index=index, modify_index=index)
        self.rows.put(row)
        self._changed(index, row)
        return row.id

    def destroy(self, index: int, session_id: str) -> None:
        """End a session, if it is there."""
        row = self.rows.delete(session_id)
        if row is None:
            return
        self._changed(index, row)
        lock_until = self._clock() + row.lock_delay / SECOND if row.lock_delay else 0.0
        self._keys.release_session(index, session_id, row.behavior == DELETE, lock_until)
        for hook in self.on_destroy:
            hook(index, session_id)

    def node_gone(self, index: int, node: str) -> None:
        """End the sessions of a node."""
        for row in self.rows.by("node", node.lower()):
            self.destroy(index, row.id)

    def check_failed(self, index: int, node: str, check_id: str) -> None:
        """End the sessions that hang on a check, which turned critical or is gone."""
        for row in self.rows.by("check", (node.lower(), check_id)):
            self.destroy(index, row.id)

    def _changed(self, index: int, row: Session) -> None:
        self._indexes.set(index, SESSIONS)
        self._journal.touch((SESSIONS,), ("session", row.id), ("node-sessions", row.node.lower()))


def checks_of(session: Session) -> list[str]:
    """The IDs of all checks that a session hangs on."""
    named = [*(session.checks or ()), *(session.node_checks or ())]
    named.extend(check.id for check in session.service_checks or ())
    return list(dict.fromkeys(named))
