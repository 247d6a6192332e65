"""The query path, once for all reads: consistency, blocking, index rules and the meta data of answers."""

import asyncio
import time
from typing import Any, NamedTuple

import msgspec

from model.acl.topics import WHO_MAY, who_may
from model.errors import NO_LEADER, RpcError
from model.metrics import METRICS
from model.structs.base import Meta, Query
from model.tables import Watch
from server.acl.identities import ANONYMOUS_SECRET
from server.endpoints.context import Context, ReadFunction
from server.raft.errors import LeadershipLost, NotLeader, ProposalTimeout

_SECOND = 1_000_000_000
QUERIES = METRICS.counter("rpc.query")
"""Counts the reads that were asked of this server."""
_CONSISTENT = METRICS.sample("rpc.consistentRead")


class Unanswered(NamedTuple):
    """What a read returns that refused its question before it looked at the state: the reply keeps zero meta data."""

    reply: Meta


async def run_read(context: Context, function: ReadFunction, args: Query) -> Any:
    """Answer a read on this server, which is the leader or was asked for a stale answer.

    A blocking read (`min_query_index` above 0) returns when its index has passed that, or after its time with the
    present answer; up to a sixteenth of the time is added at random, so that watchers do not return in step.
    """
    QUERIES.add()
    if args.require_consistent:
        began = time.perf_counter()
        try:
            await context.raft.read_barrier(context.limits.hold_timeout)
            _CONSISTENT.add((time.perf_counter() - began) * 1000.0)
        except NotLeader:
            raise
        except (LeadershipLost, ProposalTimeout):
            raise RpcError(NO_LEADER) from None
    if args.min_query_index > 0:
        reply = await _blocking(context, function, args)
    else:
        reply = function(context, args, None)
    if isinstance(reply, Unanswered):
        return reply.reply
    return _with_meta(context, args, reply) if isinstance(reply, Meta) else reply


def leads(context: Context) -> bool:
    """Whether this server may answer in the default mode by itself, as far as it knows.

    Not before the first leader has written the tokens that every cluster has: nobody would be known.
    """
    raft = context.raft
    return raft.is_leader and raft.ready_for_reads and context.acl.ready


def read_now(context: Context, function: ReadFunction, args: Query, watch: Watch) -> Any:
    """Answer a read from the state of this turn of the event loop; whether that is allowed, `leads` says.

    Raises RpcError.
    """
    reply = function(context, args, watch)
    return _with_meta(context, args, reply) if isinstance(reply, Meta) else reply


def seconds_to_wait(context: Context, max_query_time: int) -> float:
    """How long a blocking read waits that asks for so many nanoseconds (0: that does not say)."""
    limits = context.limits
    seconds = max_query_time / _SECOND if max_query_time > 0 else limits.default_query_time
    seconds = min(seconds, limits.max_query_time)
    return seconds + seconds / 16 * context.random()


async def _blocking(context: Context, function: ReadFunction, args: Query) -> Any:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds_to_wait(context, args.max_query_time)
    store = context.fsm.store
    while True:
        watch = Watch()
        reply = function(context, args, watch)
        if not isinstance(reply, Meta) or max(reply.index, 1) > args.min_query_index:
            return reply
        if not watch.topics:
            return reply  # It looked at nothing that one could wait for: such reads never block.
        if context.fsm.store is not store:
            return reply  # A restore replaced the state: the client must begin anew from a lower index.
        # Who loses rights while waiting is not to get what was seen before.
        watch.note(WHO_MAY, who_may(args.token))
        if not await watch.wait(store.watches, max(0.0, deadline - loop.time())):
            if context.acl.lasts(args.token):
                return reply
            await context.acl.prepare(args.token)
            return function(context, args, None)
        await context.acl.prepare(args.token)


def _with_meta(context: Context, args: Query, reply: Meta) -> Meta:
    raft = context.raft
    if reply.results_filtered_by_acls and args.token in ("", ANONYMOUS_SECRET):
        # That there is more is only told to those who are known.
        reply = msgspec.structs.replace(reply, results_filtered_by_acls=False)
    if raft.is_leader:
        if reply.index > 0:
            return msgspec.structs.replace(reply, known_leader=True)
        return msgspec.structs.replace(reply, known_leader=True, index=1)
    return msgspec.structs.replace(
        reply,
        index=max(reply.index, 1),
        known_leader=raft.leader is not None,
        last_contact=int(raft.last_contact * _SECOND),
    )
