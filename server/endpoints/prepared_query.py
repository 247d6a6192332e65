"""PreparedQuery: defining questions about services, and asking them, with fail-over to other datacenters."""

import random
import re

import msgspec

from model.commands import CommandType
from model.durations import DurationError, parse_duration
from model.errors import PERMISSION_DENIED, QUERY_NOT_FOUND, RpcError
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import DCSpecificRequest, QuerySource
from model.structs.queries import (
    IndexedPreparedQueries,
    PreparedQuery,
    PreparedQueryExecuteRemoteRequest,
    PreparedQueryExecuteRequest,
    PreparedQueryExecuteResponse,
    PreparedQueryExplainResponse,
    PreparedQueryRequest,
    PreparedQuerySpecificRequest,
    ServiceQuery,
)
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, follow_up, propose, read, write
from server.endpoints.failover import look_elsewhere
from server.endpoints.gateways import connect_instances
from server.endpoints.health import visible
from server.endpoints.selection import has_meta, sorted_by_distance
from server.state.store import Store

REDACTED = "<hidden>"
_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")
_MAX_META_KEY, _MAX_META_VALUE = 128, 512


@write("PreparedQuery.Apply")
async def apply(context: Context, args: PreparedQueryRequest) -> str:
    """Create (the reply is the new ID), update or delete a query."""
    query = args.query
    if query is None:
        raise RpcError("Must provide a prepared query")
    authz = authorizer(context, args.token)
    rows = context.fsm.store.queries.rows
    if args.op == "create":
        if query.id:
            raise RpcError("ID must be empty when creating a new prepared query")
        identifier = context.uuid()
        while identifier in rows:
            identifier = context.uuid()
        query = msgspec.structs.replace(query, id=identifier)
    else:
        try:
            _check_id(query.id)
        except RpcError as error:
            raise RpcError(f"Prepared Query lookup failed: {error.text}") from None
        old = rows.get(query.id)
        if old is None:
            raise RpcError(f"Cannot modify non-existent prepared query: '{query.id}'")
        if old.name or old.template.type:
            authz.require("query", "write", old.name)
    if args.op in ("create", "update"):
        if query.name or query.template.type:
            authz.require("query", "write", query.name)
        try:
            _check_definition(query)
        except RpcError as error:
            raise RpcError(f"Invalid prepared query: {error.text}") from None
    elif args.op != "delete":
        raise RpcError(f"Unknown prepared query operation: {args.op}")
    try:
        request = msgspec.structs.replace(args, query=query, token="")
        await propose(context, CommandType.PREPARED_QUERY, request)
    except RpcError as error:
        raise RpcError(f"raft apply failed: {error.text}") from None
    return query.id


def _check_id(query_id: str) -> None:
    if len(query_id) != 36:
        raise RpcError("failed prepared query lookup: index error: UUID must be 36 characters")


def _check_definition(query: PreparedQuery) -> None:
    """Raise RpcError saying what is wrong with a definition."""
    if not query.name and not query.template.type and not query.session:
        raise RpcError("Must be bound to a session")
    if query.token == REDACTED:
        raise RpcError(
            f"Bad Token '{REDACTED}', it looks like a query definition with a redacted token was submitted"
        )
    service = query.service
    if not service.service:
        raise RpcError("Must provide a Service name to query")
    failover = service.failover
    if failover.nearest_n < 0:
        raise RpcError(f"Bad NearestN '{failover.nearest_n}', must be >= 0")
    if failover.targets and (failover.nearest_n or failover.datacenters):
        raise RpcError("Targets cannot be populated with NearestN or Datacenters")
    for meta in (service.node_meta, service.service_meta):
        for key, value in (meta or {}).items():
            problem = _meta_problem(key, value)
            if problem:
                raise RpcError(f"Couldn't load metadata pair ('{key}', '{value}'): {problem}")
    if query.dns.ttl:
        try:
            ttl = parse_duration(query.dns.ttl)
        except DurationError as error:
            raise RpcError(f"Bad DNS TTL '{query.dns.ttl}': {error}") from None
        if ttl < 0:
            raise RpcError(f"DNS TTL '{ttl}', must be >=0")


def _meta_problem(key: str, value: str) -> str:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > _MAX_META_KEY:
        return f"Key is too long (limit: {_MAX_META_KEY} characters)"
    if len(value) > _MAX_META_VALUE:
        return f"Value is too long (limit: {_MAX_META_VALUE} characters)"
    return ""


def _shown(query: PreparedQuery, authz: Authorizer) -> PreparedQuery:
    if query.token and not authz.allowed("acl", "write"):
        return msgspec.structs.replace(query, token=REDACTED)
    return query


def _may_read(query: PreparedQuery, authz: Authorizer) -> bool:
    """Whether a token may see a query; those without a name are for who manages tokens, or knows their IDs."""
    if authz.allowed("acl", "write"):
        return True
    return bool(query.name or query.template.type) and authz.allowed("query", "read", query.name)


@read("PreparedQuery.Get")
def get(context: Context, args: PreparedQuerySpecificRequest, watch: Watch | None) -> IndexedPreparedQueries:
    """One query by its ID."""
    _check_id(args.query_id)
    authz = authorizer(context, args.token)
    query, index = context.fsm.store.queries.get(args.query_id, watch)
    if query is None:
        raise RpcError(QUERY_NOT_FOUND)
    # Nameless queries are for those who know their IDs.
    if (query.name or query.template.type) and not _may_read(query, authz):
        raise RpcError(PERMISSION_DENIED)
    return IndexedPreparedQueries(queries=[_shown(query, authz)], index=index)


@read("PreparedQuery.List")
def list_queries(context: Context, args: DCSpecificRequest, watch: Watch | None) -> IndexedPreparedQueries:
    """All queries."""
    authz = authorizer(context, args.token)
    rows, index = context.fsm.store.queries.all(watch)
    seen = [_shown(row, authz) for row in rows if _may_read(row, authz)]
    return IndexedPreparedQueries(queries=seen, index=index, results_filtered_by_acls=len(seen) < len(rows))


def _resolve(context: Context, args: PreparedQueryExecuteRequest) -> PreparedQuery:
    query = context.fsm.store.queries.resolve(args.query_id_or_name, args.agent.segment)
    if query is None:
        raise RpcError(QUERY_NOT_FOUND)
    return query


@read("PreparedQuery.Explain")
def explain(context: Context, args: PreparedQueryExecuteRequest, watch: Watch | None) -> PreparedQueryExplainResponse:
    """The query that a name means, rendered."""
    authz = authorizer(context, args.token)
    query = _resolve(context, args)
    if not _may_read(query, authz):
        raise RpcError(PERMISSION_DENIED)
    return PreparedQueryExplainResponse(query=_shown(query, authz))


@read("PreparedQuery.Execute")
def execute(context: Context, args: PreparedQueryExecuteRequest, watch: Watch | None) -> PreparedQueryExecuteResponse:
    """The instances that a query finds here, at random or nearest first."""
    query = _resolve(context, args)
    authz = authorizer(context, query.token or args.token)
    service = query.service
    if args.connect:
        service = msgspec.structs.replace(service, connect=True)
    nodes, hidden = _find(context, service, authz)
    store = context.fsm.store
    source = _source(store, service, args)
    nodes = sorted_by_distance(store, source, nodes, [row.node.node if row.node else "" for row in nodes])
    if source.node and service.near == "_agent" and args.agent.node == source.node:
        nodes.sort(key=lambda row: row.node is None or row.node.node.lower() != source.node.lower())
    if args.limit > 0:
        nodes = nodes[: args.limit]
    return PreparedQueryExecuteResponse(
        service=service.service,
        nodes=nodes,
        dns=query.dns,
        datacenter="" if service.peer else context.datacenter,
        peer_name=service.peer,
        results_filtered_by_acls=hidden,
    )


@follow_up("PreparedQuery.Execute")
async def execute_elsewhere(
    context: Context, args: PreparedQueryExecuteRequest, found: PreparedQueryExecuteResponse
) -> PreparedQueryExecuteResponse:
    """What a query found here, or in another datacenter when there is nothing here."""
    return found if found.nodes else await look_elsewhere(context, args, _resolve(context, args), found)


@read("PreparedQuery.ExecuteRemote")
def execute_remote(
    context: Context, args: PreparedQueryExecuteRemoteRequest, watch: Watch | None
) -> PreparedQueryExecuteResponse:
    """The instances that another datacenter's query finds here."""
    service = args.query.service
    if args.connect:
        service = msgspec.structs.replace(service, connect=True)
    nodes, hidden = _find(context, service, authorizer(context, args.query.token or args.token))
    return PreparedQueryExecuteResponse(
        service=service.service,
        nodes=nodes[: args.limit] if args.limit > 0 else nodes,
        dns=args.query.dns,
        datacenter=context.datacenter,
        results_filtered_by_acls=hidden,
    )


def _find(context: Context, service: ServiceQuery, authz: Authorizer) -> tuple[list[CheckServiceNode], bool]:
    """The healthy instances that a query asks for, in random order, and whether some had to be hidden."""
    if service.peer:
        return [], False
    catalog = context.fsm.store.catalog
    if service.connect:
        instances, _ = connect_instances(context.fsm.store, service.service, None)
    else:
        instances, _ = catalog.service_instances(service.service)
    found = [row for row in catalog.with_checks(instances) if _fits(row, service)]
    seen = visible(found, authz)
    random.Random(context.random()).shuffle(seen)
    return seen, len(seen) < len(found)


def _fits(row: CheckServiceNode, wanted: ServiceQuery) -> bool:
    if row.node is None or row.service is None:
        return False
    ignored = wanted.ignore_check_ids or ()
    for check in row.checks or ():
        bad = check.status == "critical" or (wanted.only_passing and check.status != "passing")
        if bad and check.check_id not in ignored:
            return False
    if not has_meta(row.node.meta, wanted.node_meta) or not has_meta(row.service.meta, wanted.service_meta):
        return False
    have = {tag.lower() for tag in row.service.tags or ()}
    for tag in wanted.tags or ():
        if tag.startswith("!"):
            if tag[1:].lower() in have:
                return False
        elif tag.lower() not in have:
            return False
    return True


def _source(store: Store, service: ServiceQuery, args: PreparedQueryExecuteRequest) -> QuerySource:
    """From where distances count: what the caller says, else what the query says."""
    near = args.source.node or service.near
    if near == "_ip":
        address = args.source.ip
        near = next((node.node for node in store.catalog.nodes if address and node.address == address), "")
        near = near or args.agent.node
    elif near == "_agent":
        near = args.agent.node
    return QuerySource(node=near)
