"""The way in to every endpoint: who answers a call, and what happens while there is no leader."""

import asyncio
import importlib
import time
from typing import Any

import msgspec

from model.codec import Wire
from model.errors import CONNECT_NOT_ENABLED, NO_LEADER, NO_PATH_TO_DATACENTER, RpcError
from model.metrics import METRICS
from model.structs.acl import ACLTokenDeleteRequest, ACLTokenSetRequest
from model.structs.base import Query
from server.endpoints.context import FOLLOW_UPS, LOCAL, READS, WRITES, Context
from server.endpoints.query import leads, run_read
from server.raft.errors import NotLeader, RaftError

ENDPOINTS = (
    *("acl_login", "acl_methods", "acl_policies", "acl_roles", "acl_tokens"),
    *("auto_encrypt", "catalog", "config_entries", "connect_ca", "coordinate", "discovery_chain", "health"),
    *("intentions", "internal", "keyring", "kvs", "operator", "prepared_query", "session", "status", "topology", "txn"),
)
"""The modules of this package whose import registers endpoints."""
_TIMES = {
    method: METRICS.sample(name)
    for method, name in (
        ("ACL.AuthMethodDelete", "acl.authmethod.delete"),
        ("ACL.AuthMethodSet", "acl.authmethod.upsert"),
        ("ACL.BindingRuleDelete", "acl.bindingrule.delete"),
        ("ACL.BindingRuleSet", "acl.bindingrule.upsert"),
        ("ACL.Login", "acl.login"),
        ("ACL.Logout", "acl.logout"),
        ("Catalog.Register", "catalog.register"),
        ("Catalog.Deregister", "catalog.deregister"),
        ("ConfigEntry.Apply", "config_entry.apply"),
        ("ConfigEntry.Delete", "config_entry.delete"),
        ("Intention.Apply", "intention.apply"),
        ("KVS.Apply", "kvs.apply"),
        ("PreparedQuery.Apply", "prepared-query.apply"),
        ("Session.Apply", "session.apply"),
        ("Session.Renew", "session.renew"),
        ("Txn.Apply", "txn.apply"),
    )
}
"""How long the leader takes for these, by method."""
_OF_THE_MESH = ("ConnectCA.", "Intention.", "DiscoveryChain.")
"""Endpoints that refuse while `connect.enabled` is false."""

for _module in ENDPOINTS:
    importlib.import_module(f"server.endpoints.{_module}")


async def dispatch(context: Context, method: str, args: Wire, *, may_forward: bool = True) -> Any:
    """Carry out a call here or on the leader and return its reply, of the type that `model.methods` names.

    `may_forward` is False for a call that another server passed on, so that calls never go round in circles.
    Raises RpcError with the text for the caller.
    """
    datacenter = getattr(args, "datacenter", "")
    if datacenter and datacenter != context.datacenter and datacenter.lower() != context.datacenter.lower():
        return await _in_datacenter(context, datacenter, method, args)
    if method.startswith(_OF_THE_MESH) and not context.connect_enabled:
        raise RpcError(CONNECT_NOT_ENABLED)
    if context.acl.elsewhere is not None:
        if _is_for_primary(context, method, args):
            primary = context.acl.settings.primary_datacenter
            args = msgspec.structs.replace(args, datacenter=primary)
            return await _in_datacenter(context, primary, method, args)
        await context.acl.prepare(getattr(args, "token", ""))
    function = READS.get(method)
    if function is not None:
        if not isinstance(args, Query):
            raise RpcError(f"rpc: {method} takes the options of a query")
        raft = context.raft
        if leads(context):
            try:
                return await _here(context, method, args)
            except NotLeader:  # Leadership went while the read was to prove it: the next leader answers.
                return await _on_leader(context, method, args, may_forward)
        if args.allow_stale and not args.require_consistent and raft.leader is not None:
            return await _read(context, method, args)
        return await _on_leader(context, method, args, may_forward)
    local_call = LOCAL.get(method)
    if local_call is not None:
        return await local_call(context, args)
    if method not in WRITES:
        raise RpcError(_unknown(method))
    return await _on_leader(context, method, args, may_forward)


_OF_THE_PRIMARY = frozenset(
    ("ACL.BootstrapTokens", "ACL.PolicySet", "ACL.PolicyDelete", "ACL.RoleSet", "ACL.RoleDelete")
)


def _is_for_primary(context: Context, method: str, args: Wire) -> bool:
    """Whether a call changes what the primary datacenter has authority over: policies, roles, tokens but local ones."""
    if isinstance(args, ACLTokenSetRequest) and method == "ACL.TokenSet":
        return not args.acl_token.local
    accessor = ""
    if isinstance(args, ACLTokenSetRequest):  # A clone is what the original is.
        accessor = args.acl_token.accessor_id
    elif isinstance(args, ACLTokenDeleteRequest):
        accessor = args.token_id
    if accessor:
        known, _ = context.fsm.store.acl.token(accessor)
        return known is None or not known.local
    return method in _OF_THE_PRIMARY


async def _in_datacenter(context: Context, datacenter: str, method: str, args: Wire) -> Any:
    """Carry out a call in another datacenter, by a server there."""
    refused: ConnectionError | None = None
    for address in context.route(datacenter):
        try:
            return await context.forward(method, args, address)
        except RpcError as error:
            raise RpcError(f"rpc error making call: {error.text}") from None
        except ConnectionRefusedError as error:
            refused = error  # Nothing was sent: another server may be asked.
        except ConnectionError as error:
            raise RpcError(f"rpc error making call: {error}") from None
    if refused is not None:
        raise RpcError(f"rpc error making call: {refused}")
    raise RpcError(NO_PATH_TO_DATACENTER)


def _unknown(method: str) -> str:
    service, _, name = method.partition(".")
    if not name:
        return f"rpc: service/method request ill-formed: {method}"
    known = any(known.startswith(f"{service}.") for known in (*LOCAL, *READS, *WRITES))
    return f"rpc: can't find {'method' if known else 'service'} {method}"


async def _on_leader(context: Context, method: str, args: Wire, may_forward: bool) -> Any:
    """Carry out a call on the leader, wherever it is; hold it for a while when there is none."""
    loop = asyncio.get_running_loop()
    hold = context.limits.hold_timeout
    deadline = loop.time() + hold
    while True:
        raft = context.raft
        if raft.is_leader:
            if leads(context):
                try:
                    return await _here(context, method, args)
                except NotLeader:
                    pass
        elif may_forward and (leader := raft.leader) is not None and leader.address:
            try:
                return await context.forward(method, args, leader.address)
            except RpcError as error:
                if not error.has(NO_LEADER):
                    raise RpcError(f"rpc error making call: {error.text}") from None
            except ConnectionError as error:
                if method not in READS:
                    raise RpcError(f"rpc error making call: {error}") from None
        if loop.time() >= deadline:
            raise RpcError(NO_LEADER)
        await asyncio.sleep(hold / 64 * (0.5 + context.random()))


async def _read(context: Context, method: str, args: Wire) -> Any:
    """A read on this server, and what follows it."""
    reply = await run_read(context, READS[method], args)  # type: ignore[arg-type]
    follow = FOLLOW_UPS.get(method)
    return reply if follow is None else await follow(context, args, reply)


async def _here(context: Context, method: str, args: Wire) -> Any:
    try:
        function = READS.get(method)
        if function is not None:
            return await _read(context, method, args)
        times = _TIMES.get(method)
        if times is None:
            return await WRITES[method](context, args)
        began = time.perf_counter()
        try:
            return await WRITES[method](context, args)
        finally:
            times.add((time.perf_counter() - began) * 1000.0)
    except NotLeader:
        raise
    except RaftError as error:
        raise RpcError(f"raft apply failed: {error}") from None
