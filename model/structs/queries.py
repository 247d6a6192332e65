"""Prepared queries: rows, requests and answers."""

from typing import Annotated

from model.codec import HIDDEN, Wire
from model.structs.base import Meta, Query
from model.structs.catalog import CheckServiceNode
from model.structs.catalog_rpc import QuerySource


class QueryFailoverTarget(Wire, frozen=True):
    """One place where a prepared query looks when nothing is found."""

    datacenter: str = ""
    peer: str = ""


class QueryFailoverOptions(Wire, frozen=True):
    """Where a prepared query looks when nothing is found."""

    datacenters: list[str] | None = None
    nearest_n: int = 0
    targets: list[QueryFailoverTarget] | None = None


class QueryDNSOptions(Wire, frozen=True):
    """How a prepared query answers DNS."""

    ttl: str = ""


class QueryTemplateOptions(Wire, frozen=True):
    """Makes a prepared query answer many names."""

    regexp: str = ""
    remove_empty_tags: bool = False
    type: str = ""


class ServiceQuery(Wire, frozen=True):
    """What a prepared query looks for."""

    connect: bool = False
    failover: QueryFailoverOptions = QueryFailoverOptions()
    ignore_check_ids: list[str] | None = None
    near: str = ""
    node_meta: dict[str, str] | None = None
    only_passing: bool = False
    peer: str = ""
    service: str = ""
    service_meta: dict[str, str] | None = None
    tags: list[str] | None = None


class PreparedQuery(Wire, frozen=True):
    """A named question about services."""

    dns: QueryDNSOptions = QueryDNSOptions()
    id: str = ""
    name: str = ""
    service: ServiceQuery = ServiceQuery()
    session: str = ""
    template: QueryTemplateOptions = QueryTemplateOptions()
    token: str = ""
    create_index: int = 0
    modify_index: int = 0


class PreparedQueryRequest(Wire, frozen=True):
    """Arguments of `PreparedQuery.Apply`."""

    datacenter: str = ""
    op: str = ""
    query: PreparedQuery | None = None
    token: Annotated[str, HIDDEN] = ""


class PreparedQuerySpecificRequest(Query, frozen=True):
    """Arguments of `PreparedQuery.Get`."""

    datacenter: str = ""
    query_id: str = ""


class PreparedQueryExecuteRequest(Query, frozen=True):
    """Arguments of `PreparedQuery.Execute`, `PreparedQuery.Explain`."""

    agent: QuerySource = QuerySource()
    connect: bool = False
    datacenter: str = ""
    limit: int = 0
    query_id_or_name: str = ""
    source: QuerySource = QuerySource()


class PreparedQueryExecuteRemoteRequest(Query, frozen=True):
    """Arguments of `PreparedQuery.ExecuteRemote`."""

    connect: bool = False
    datacenter: str = ""
    limit: int = 0
    query: PreparedQuery = PreparedQuery()


class IndexedPreparedQueries(Meta, frozen=True):
    """Answer of `PreparedQuery.Get`, `PreparedQuery.List`."""

    queries: list[PreparedQuery] | None = None


class PreparedQueryExecuteResponse(Meta, frozen=True):
    """Answer of `PreparedQuery.Execute`, `PreparedQuery.ExecuteRemote`."""

    dns: QueryDNSOptions = QueryDNSOptions()
    datacenter: str = ""
    failovers: int = 0
    nodes: list[CheckServiceNode] | None = None
    peer_name: str = ""
    service: str = ""


class PreparedQueryExplainResponse(Meta, frozen=True):
    """Answer of `PreparedQuery.Explain`."""

    query: PreparedQuery = PreparedQuery()
