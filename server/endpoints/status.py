"""Status: who leads, who takes part, whether anybody is there."""

from model.structs.base import Empty
from model.structs.catalog_rpc import DCSpecificRequest
from model.structs.operator import RaftStats
from server.endpoints.context import Context, local


@local("Status.Ping")
async def ping(context: Context, args: Empty) -> Empty:
    """Answer."""
    return Empty()


@local("Status.Leader")
async def leader(context: Context, args: DCSpecificRequest) -> str:
    """The leader's `ip:port`, or "" while there is none.

    The first leader of a cluster counts from the moment on at which it is in the catalog: who waits for a leader goes
    on to make a session, which needs the node.
    """
    known = context.raft.leader if context.fsm.store.indexes.get("nodes") else None
    return known.address if known is not None else ""


@local("Status.Peers")
async def peers(context: Context, args: DCSpecificRequest) -> list[str]:
    """The `ip:port` of every server that takes part."""
    return [server.address for server in context.raft.servers]


def own_stats(context: Context) -> RaftStats:
    """How far this server's log has come."""
    stats = context.raft.stats()
    return RaftStats(
        last_contact=stats["last_contact"],
        last_index=int(stats["last_log_index"]),
        last_term=int(stats["last_log_term"]),
    )


@local("Status.RaftStats")
async def raft_stats(context: Context, args: Empty) -> RaftStats:
    """How far this server's log has come."""
    return own_stats(context)
