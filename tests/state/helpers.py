"""A state machine fed command by command, and watches that only note that they fired."""

import io
from typing import Any

import msgspec

from model.codec import Wire
from model.commands import CommandType, command
from model.structs.catalog import HealthCheck, NodeService
from model.structs.catalog_rpc import DeregisterRequest, RegisterRequest
from model.structs.kv import DirEntry, KVSRequest
from model.structs.session import Session, SessionRequest
from model.tables import Watch
from server.fsm import Fsm
from server.state.store import Store


class NotingWatch(Watch):
    """Counts how often it fired."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def fire(self) -> None:
        self.count += 1


class Machine:
    """A state machine with its log; `now` is the clock of lock delays."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fsm = Fsm(Store(clock=lambda: self.now))
        self.index = 0
        self.log: list[tuple[int, bytes]] = []

    @property
    def store(self) -> Store:
        return self.fsm.store

    def apply(self, kind: CommandType, request: Wire) -> Any:
        self.index += 1
        data = command(kind, request)
        self.log.append((self.index, data))
        return self.fsm.apply(self.index, 1, data)

    def kv(self, op: str, key: str, value: bytes = b"", **fields: Any) -> Any:
        entry = DirEntry(key=key, value=value or None, **fields)
        return self.apply(CommandType.KVS, KVSRequest(op=op, dir_ent=entry))

    def register(
        self, node: str, service: NodeService | None = None, checks: list[HealthCheck] | None = None, **fields: Any
    ) -> None:
        fields.setdefault("address", "10.0.0.1")
        bound = [check if check.node else _on(check, node) for check in checks or ()]
        self.apply(CommandType.REGISTER, RegisterRequest(node=node, service=service, checks=bound, **fields))

    def deregister(self, node: str, **fields: Any) -> None:
        self.apply(CommandType.DEREGISTER, DeregisterRequest(node=node, **fields))

    def session(self, session_id: str, node: str = "n1", **fields: Any) -> str:
        session = Session(id=session_id, node=node, **fields)
        return str(self.apply(CommandType.SESSION, SessionRequest(op="create", session=session)))

    def destroy(self, session_id: str) -> None:
        self.apply(CommandType.SESSION, SessionRequest(op="destroy", session=Session(id=session_id)))

    def watch(self, read: Any, *args: Any) -> NotingWatch:
        """Make a read with a watch and wait on it."""
        noting = NotingWatch()
        read(*args, noting)
        self.store.watches.add(noting)
        return noting

    def restored(self) -> Store:
        """The state as another server has it that reads this one's snapshot."""
        other = Fsm(Store())
        other.restore(io.BytesIO(self.snapshot()))
        return other.store

    def snapshot(self) -> bytes:
        target = io.BytesIO()
        self.fsm.snapshot()(target)
        return target.getvalue()


def _on(check: HealthCheck, node: str) -> HealthCheck:
    return msgspec.structs.replace(check, node=node)


def service(name: str, service_id: str = "", **fields: Any) -> NodeService:
    """A service as an endpoint would have completed it."""
    return NodeService(service=name, id=service_id or name, **fields)


def check(check_id: str, status: str = "passing", **fields: Any) -> HealthCheck:
    """A check as an endpoint would have completed it."""
    return HealthCheck(check_id=check_id, name=check_id, status=status, **fields)
