"""The query path, once for all reads: consistency, blocking, index rules and the meta data of answers."""

import asyncio
from typing import Any

import msgspec

from model.errors import NO_LEADER, RpcError
from model.structs.base import Meta, Query
from model.tables import Watch
from server.endpoints.context import Context, ReadFunction
from server.raft.errors import LeadershipLost, NotLeader, ProposalTimeout

_SECOND = 1_000_000_000


async def run_read(context: Context, function: ReadFunction, args: Query) -> Any:
    """Answer a read on this server, which is the leader or was asked for a stale answer.

    A blocking read (`min_query_index` above 0) returns when its index has passed that, or after its time with the
    present answer; up to a sixteenth of the time is added at random, so that watchers do not return in step.
    """
    if args.require_consistent:
        try:
            await context.raft.read_barrier(context.limits.hold_timeout)
        except (NotLeader, LeadershipLost, ProposalTimeout):
            raise RpcError(NO_LEADER) from None
    reply = await _blocking(context, function, args) if args.min_query_index > 0 else function(context, args, None)
    if isinstance(reply, Meta):
        return _with_meta(context, reply)
    return reply


async def _blocking(context: Context, function: ReadFunction, args: Query) -> Any:
    seconds = args.max_query_time / _SECOND if args.max_query_time > 0 else context.limits.default_query_time
    seconds = min(seconds, context.limits.max_query_time)
    seconds += seconds / 16 * context.random()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    store = context.fsm.store
    while True:
        watch = Watch()
        reply = function(context, args, watch)
        if not isinstance(reply, Meta) or max(reply.index, 1) > args.min_query_index:
            return reply
        if context.fsm.store is not store:
            return reply  # A restore replaced the state: the client must begin anew from a lower index.
        if not await watch.wait(store.watches, max(0.0, deadline - loop.time())):
            return reply


def _with_meta(context: Context, reply: Meta) -> Meta:
    raft = context.raft
    return msgspec.structs.replace(
        reply,
        index=max(reply.index, 1),
        known_leader=raft.leader is not None,
        last_contact=0 if raft.is_leader else int(raft.last_contact * _SECOND),
    )
