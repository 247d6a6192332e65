"""Copies policies, roles and tokens from the primary datacenter; a task of the leader in every other one.

For each kind it waits in the primary datacenter for a change of the whole list, compares what it hears with the own
state by hashes, and fetches what differs. Tokens that are local to a datacenter stay out of it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from model.codec import Wire
from model.commands import CommandType
from model.durations import SECOND
from model.errors import RpcError
from model.gotime import GoTime
from model.structs.acl import (
    ACLPolicyBatchDeleteRequest,
    ACLPolicyBatchGetRequest,
    ACLPolicyBatchSetRequest,
    ACLPolicyListRequest,
    ACLReplicationStatus,
    ACLRoleBatchDeleteRequest,
    ACLRoleBatchGetRequest,
    ACLRoleBatchSetRequest,
    ACLRoleListRequest,
    ACLTokenBatchDeleteRequest,
    ACLTokenBatchGetRequest,
    ACLTokenBatchSetRequest,
    ACLTokenListRequest,
)
from model.structs.base import Query
from server.endpoints.context import Context, propose
from server.raft.errors import RaftError

log = logging.getLogger("lictor.leader")

WAIT = 60 * SECOND
"""Nanoseconds for which a list is waited for at a time."""
PAUSE = 1.0
MAX_PAUSE = 60.0
"""Seconds between two rounds, and after failures at most."""
BATCH = 128
"""Rows that are fetched or written at a time."""


class Kind(NamedTuple):
    """One kind of rows: how they are listed and fetched over there, and written and removed here."""

    method: str
    rows: str
    """The field of replies that has them."""
    ids: str
    """The field of requests that says which of them are wanted."""
    progress: str
    """The field of the status that has the index of what was copied."""
    listed: Callable[..., Query]
    fetched: Callable[..., Query]
    put: CommandType
    delete: CommandType
    put_request: Callable[[list[Any]], Wire]
    delete_request: Callable[[list[str]], Wire]


POLICIES = Kind(
    "ACL.Policy",
    "policies",
    "policy_ids",
    "replicated_index",
    ACLPolicyListRequest,
    ACLPolicyBatchGetRequest,
    CommandType.ACL_POLICY,
    CommandType.ACL_POLICY_DELETE,
    lambda rows: ACLPolicyBatchSetRequest(policies=rows),
    lambda ids: ACLPolicyBatchDeleteRequest(policy_ids=ids),
)
ROLES = Kind(
    "ACL.Role",
    "roles",
    "role_ids",
    "replicated_role_index",
    ACLRoleListRequest,
    ACLRoleBatchGetRequest,
    CommandType.ACL_ROLE,
    CommandType.ACL_ROLE_DELETE,
    lambda rows: ACLRoleBatchSetRequest(roles=rows, allow_missing_links=True),
    lambda ids: ACLRoleBatchDeleteRequest(role_ids=ids),
)
TOKENS = Kind(
    "ACL.Token",
    "tokens",
    "accessor_ids",
    "replicated_token_index",
    ACLTokenListRequest,
    ACLTokenBatchGetRequest,
    CommandType.ACL_TOKEN,
    CommandType.ACL_TOKEN_DELETE,
    lambda rows: ACLTokenBatchSetRequest(tokens=rows, allow_missing_links=True, from_replication=True),
    lambda ids: ACLTokenBatchDeleteRequest(token_ids=ids),
)


def difference(own: dict[str, bytes], theirs: dict[str, bytes]) -> tuple[list[str], list[str]]:
    """What to fetch and what to remove, by ID: rows as they are here and there, by ID with their hashes. Pure."""
    fetch = [identifier for identifier, digest in theirs.items() if own.get(identifier) != digest]
    return fetch, [identifier for identifier in own if identifier not in theirs]


class AclReplication:
    """The copying of one leadership."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self) -> None:
        """Copy until cancelled; returns at once in the primary datacenter."""
        acl = self._context.acl
        if not acl.is_secondary:
            return
        tokens_too = acl.settings.token_replication
        acl.replication = ACLReplicationStatus(
            enabled=True,
            running=True,
            replication_type="tokens" if tokens_too else "policies",
            source_datacenter=acl.settings.primary_datacenter,
        )
        kinds = [POLICIES, ROLES, *([TOKENS] if tokens_too else [])]
        try:
            await asyncio.gather(*(self._follow(kind) for kind in kinds))
        finally:
            acl.replication = msgspec.structs.replace(acl.replication, running=False)

    async def _follow(self, kind: Kind) -> None:
        index, pause = 0, PAUSE
        while True:
            try:
                index = await self._round(kind, index)
                pause = PAUSE
                self._note(last_success=self._now(), **{kind.progress: index})
            except (RpcError, RaftError, ConnectionError) as error:
                log.warning("copying ACL %s from the primary datacenter failed: %s", kind.rows, error)
                self._note(last_error=self._now(), last_error_message=str(error))
                index, pause = 0, min(pause * 2, MAX_PAUSE)
            await asyncio.sleep(pause * (0.5 + self._context.random()))

    def _note(self, **changes: Any) -> None:
        acl = self._context.acl
        acl.replication = msgspec.structs.replace(acl.replication, **changes)

    def _now(self) -> GoTime:
        return GoTime.from_unix_nanoseconds(self._context.now_nanoseconds() // SECOND * SECOND)

    async def _round(self, kind: Kind, index: int) -> int:
        """Wait for another list than that of `index` and take it over; returns its index. Raises RpcError."""
        more = {"include_global": True} if kind is TOKENS else {}
        reply = await self._ask(f"{kind.method}List", kind.listed, min_query_index=index, max_query_time=WAIT, **more)
        if index and reply.index == index:
            return index
        rows = getattr(reply, kind.rows) or []
        fetch, remove = difference(self._own(kind), {_id(row): row.hash or b"" for row in rows})
        for batch in _batches(fetch):
            await propose(self._context, kind.put, kind.put_request(await self._fetch(kind, batch)))
        for batch in _batches(remove):
            await propose(self._context, kind.delete, kind.delete_request(batch))
        return int(reply.index) if reply.index >= index else 0

    def _own(self, kind: Kind) -> dict[str, bytes]:
        acl = self._context.fsm.store.acl
        if kind is TOKENS:
            return {row.accessor_id: row.hash or b"" for row in acl.tokens if not row.local}
        rows: Iterable[Any] = acl.policies if kind is POLICIES else acl.roles
        return {row.id: row.hash or b"" for row in rows}

    async def _fetch(self, kind: Kind, identifiers: list[str]) -> list[Any]:
        reply = await self._ask(f"{kind.method}BatchRead", kind.fetched, **{kind.ids: identifiers})
        if getattr(reply, "redacted", False):
            raise RpcError("the replication token lacks permission 'acl:write', so it is not told any secrets")
        return list(getattr(reply, kind.rows) or ())

    async def _ask(self, method: str, request: Callable[..., Query], **fields: Any) -> Any:
        """Make a call in the primary datacenter. Raises RpcError."""
        acl = self._context.acl
        primary, secret = acl.settings.primary_datacenter, acl.replication_secret()
        return await self._context.call(method, request(datacenter=primary, token=secret, allow_stale=True, **fields))


def _id(row: Any) -> str:
    return str(row.accessor_id if hasattr(row, "accessor_id") else row.id)


def _batches(identifiers: list[str]) -> Iterable[list[str]]:
    return (identifiers[at : at + BATCH] for at in range(0, len(identifiers), BATCH))
