"""Operator: Raft's configuration and autopilot's settings."""

import msgspec

from model.commands import CommandType
from model.errors import RpcError
from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.operator import (
    AutopilotConfig,
    AutopilotHealthReply,
    AutopilotSetConfigRequest,
    AutopilotState,
    RaftConfigurationResponse,
    RaftRemovePeerRequest,
    RaftServer,
    TransferLeaderRequest,
    TransferLeaderResponse,
)
from model.tables import Watch
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context, propose, read, write
from server.raft.errors import NotLeader, RaftError


@read("Operator.RaftGetConfiguration")
def raft_configuration(context: Context, args: DCSpecificRequest, watch: Watch | None) -> RaftConfigurationResponse:
    """The servers that take part in Raft."""
    authorizer(context, args.token).require("operator", "read")
    leader = context.raft.leader
    names = {member.id: member.name for member in context.server_members()}
    servers = [
        RaftServer(
            id=server.id,
            node=names.get(server.id) or "(unknown)",
            address=server.address,
            leader=leader is not None and leader.id == server.id,
            voter=server.voter,
            protocol_version="3",
        )
        for server in context.raft.servers
    ]
    return RaftConfigurationResponse(servers=servers)


async def _remove(context: Context, args: RaftRemovePeerRequest, server_id: str, shown: str) -> Empty:
    authorizer(context, args.token).require("operator", "write")
    if server_id not in {server.id for server in context.raft.servers}:
        raise RpcError(f"{shown} was not found in the Raft configuration")
    await context.raft.remove_server(server_id)
    return Empty()


@write("Operator.RaftRemovePeerByID")
async def remove_by_id(context: Context, args: RaftRemovePeerRequest) -> Empty:
    """Take a server out by its ID."""
    return await _remove(context, args, args.id, f'id "{args.id}"')


@write("Operator.RaftRemovePeerByAddress")
async def remove_by_address(context: Context, args: RaftRemovePeerRequest) -> Empty:
    """Take a server out by its address."""
    found = next((server.id for server in context.raft.servers if server.address == args.address), "")
    return await _remove(context, args, found, f'address "{args.address}"')


@write("Operator.TransferLeader")
async def transfer_leader(context: Context, args: TransferLeaderRequest) -> TransferLeaderResponse:
    """Hand leadership to the server with an ID, or to the one that is furthest. Raises RpcError."""
    authorizer(context, args.token).require("operator", "write")
    if args.id:
        chosen = next((server for server in context.raft.servers if server.id == args.id), None)
        if chosen is None:
            raise RpcError(f'id "{args.id}" was not found in the Raft configuration')
        if not chosen.voter:
            raise RpcError(f'id "{args.id}" does not vote, so it cannot lead')
        if chosen.id == _leader_id(context):
            raise RpcError(f'id "{args.id}" is the leader already')
    try:
        await context.raft.transfer_leadership(args.id or None)
    except NotLeader:
        raise
    except RaftError as error:
        raise RpcError(f"leadership was not transferred: {error}") from None
    return TransferLeaderResponse(success=True)


@read("Operator.AutopilotGetConfiguration")
def autopilot_configuration(context: Context, args: DCSpecificRequest, watch: Watch | None) -> AutopilotConfig:
    """How autopilot looks after the servers."""
    authorizer(context, args.token).require("operator", "read")
    return context.fsm.store.autopilot.config or context.autopilot.initial


@write("Operator.AutopilotSetConfiguration")
async def set_autopilot_configuration(context: Context, args: AutopilotSetConfigRequest) -> bool:
    """Change autopilot's settings; false when a cas did not match."""
    authorizer(context, args.token).require("operator", "write")
    return bool(await propose(context, CommandType.AUTOPILOT, msgspec.structs.replace(args, token="")))


@write("Operator.ServerHealth")
async def server_health(context: Context, args: DCSpecificRequest) -> AutopilotHealthReply:
    """How each server is; the leader knows."""
    authorizer(context, args.token).require("operator", "read")
    return context.autopilot.health(_leader_id(context))


@write("Operator.AutopilotState")
async def autopilot_state(context: Context, args: DCSpecificRequest) -> AutopilotState:
    """All that autopilot knows; the leader knows."""
    authorizer(context, args.token).require("operator", "read")
    return context.autopilot.state(_leader_id(context))


def _leader_id(context: Context) -> str:
    leader = context.raft.leader
    return leader.id if leader is not None else ""
