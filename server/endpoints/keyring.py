"""Internal.KeyringOperation: the gossip keys of the WAN pool and of the pools of all datacenters."""

import asyncio

import msgspec

from gossip import key_answers
from gossip.key_answers import KeyReport, decoded
from gossip.keyring import KeyringError
from gossip.wire import GossipError
from model.errors import RpcError
from model.structs.operator import KeyringRequest, KeyringResponse, KeyringResponses
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, local

ACCESS = {"list": "read", "install": "write", "use": "write", "remove": "write"}
QUERIES = {
    "list": key_answers.LIST,
    "install": key_answers.INSTALL,
    "use": key_answers.USE,
    "remove": key_answers.REMOVE,
}


@local("Internal.KeyringOperation")
async def keyring(context: Context, args: KeyringRequest) -> KeyringResponses:
    """List the keys or change them: in the WAN pool first, then here, then in the other datacenters.

    Raises RpcError for an unknown operation, and for a change that is to be local only.
    """
    access = ACCESS.get(args.operation)
    if access is None:
        raise RpcError(f"unknown keyring operation {args.operation!r}")
    if args.local_only and args.operation != "list":
        raise RpcError("argument 'LocalOnly' can only be used for list requests")
    authorizer(context, args.token).require("keyring", access)
    everywhere = not args.local_only and not args.forwarded
    found = []
    if everywhere and context.in_wide_pool:
        found.append(await _in_pool(context, args, wide=True))
    found.append(await _in_pool(context, args, wide=False))
    if everywhere:
        others = [name for name in context.datacenters() if name != context.datacenter]
        for answers in await asyncio.gather(*(_elsewhere(context, args, name) for name in others)):
            found += answers
    return KeyringResponses(responses=found)


async def _elsewhere(context: Context, args: KeyringRequest, datacenter: str) -> list[KeyringResponse]:
    """What the members of another datacenter answer; an unreachable one has an error instead."""
    request = msgspec.structs.replace(args, datacenter=datacenter, forwarded=True)
    reason = "No path to datacenter"
    for address in context.route(datacenter):
        try:
            reply: KeyringResponses = await context.forward("Internal.KeyringOperation", request, address)
            return reply.responses or []
        except (RpcError, ConnectionError) as error:
            reason = str(error)
    return [KeyringResponse(datacenter=datacenter, error=reason)]


async def _in_pool(context: Context, args: KeyringRequest, wide: bool) -> KeyringResponse:
    try:
        key = decoded(args.key) if args.operation != "list" else b""
        report = await context.keys(QUERIES[args.operation], key, args.relay_factor, wide)
    except (KeyringError, GossipError) as error:
        return KeyringResponse(datacenter=context.datacenter, wan=wide, error=str(error))
    return _row(context.datacenter, report, wide)


def _row(datacenter: str, report: KeyReport, wide: bool) -> KeyringResponse:
    return KeyringResponse(
        datacenter=datacenter,
        wan=wide,
        error=report.error,
        keys=report.keys,
        primary_keys=report.primary_keys,
        messages=report.messages,
        num_nodes=report.members,
    )
