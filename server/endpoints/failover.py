"""Where a prepared query looks when its own datacenter has nothing: in others, the nearest or the named ones first."""

import logging
from collections.abc import Sequence

import msgspec

from model.errors import RpcError
from model.structs.queries import (
    PreparedQuery,
    PreparedQueryExecuteRemoteRequest,
    PreparedQueryExecuteRequest,
    PreparedQueryExecuteResponse,
    QueryFailoverOptions,
    QueryFailoverTarget,
)
from server.endpoints.context import Context

log = logging.getLogger("lictor.server")


def targets_of(failover: QueryFailoverOptions, datacenters: Sequence[str]) -> list[QueryFailoverTarget]:
    """Where to look, in order. `datacenters` are all that are known, nearest first, the own one among them.

    Datacenters that nobody knows, and the own one, are left out.
    """
    if failover.targets:
        wanted = list(failover.targets)
    else:
        others = list(datacenters[1:])
        names = others[: failover.nearest_n] + list(failover.datacenters or ())
        wanted = [QueryFailoverTarget(datacenter=name) for name in dict.fromkeys(names)]
    known = set(datacenters[1:])
    return [target for target in wanted if target.peer or target.datacenter in known]


async def look_elsewhere(
    context: Context, args: PreparedQueryExecuteRequest, query: PreparedQuery, found: PreparedQueryExecuteResponse
) -> PreparedQueryExecuteResponse:
    """The answer of the first place that has instances; of the last one asked when none has."""
    own = context.datacenter
    datacenters = [own, *(name for name in context.datacenters() if name != own)]
    for number, target in enumerate(targets_of(query.service.failover, datacenters), 1):
        if target.peer:
            # Nothing is imported from peers: such a target is empty.
            found = msgspec.structs.replace(found, datacenter="", peer_name=target.peer, failovers=number)
            continue
        request = PreparedQueryExecuteRemoteRequest(
            connect=args.connect,
            datacenter=target.datacenter,
            limit=args.limit,
            query=query,
            token=args.token,
            allow_stale=args.allow_stale,
            require_consistent=args.require_consistent,
        )
        found = msgspec.structs.replace(found, failovers=number)
        try:
            answer = await _ask(context, request)
        except RpcError as error:
            log.warning(
                "Failed querying for service in datacenter: service=%s datacenter=%s error=%s",
                *(query.service.service, target.datacenter, error),
            )
            continue
        found = msgspec.structs.replace(
            found, nodes=answer.nodes, dns=answer.dns, datacenter=answer.datacenter or target.datacenter, peer_name=""
        )
        if answer.nodes:
            break
    return found


async def _ask(context: Context, request: PreparedQueryExecuteRemoteRequest) -> PreparedQueryExecuteResponse:
    refused = "No path to datacenter"
    for address in context.route(request.datacenter):
        try:
            answer: PreparedQueryExecuteResponse = await context.forward(
                "PreparedQuery.ExecuteRemote", request, address
            )
            return answer
        except ConnectionError as error:
            refused = str(error)
    raise RpcError(refused)
