"""Prepared queries: definitions, templates and what they find."""

from typing import Any

import pytest

from model.errors import RpcError
from model.structs.catalog import HealthCheck, NodeService
from model.structs.queries import (
    PreparedQuery,
    QueryDNSOptions,
    QueryFailoverOptions,
    QueryFailoverTarget,
    QueryTemplateOptions,
    ServiceQuery,
)
from model.structs.session import Session
from tests.endpoints.fake import FakeServer

TEMPLATE = QueryTemplateOptions(type="name_prefix_match")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


async def create(server: FakeServer, name: str = "", service: str = "web", **fields: Any) -> str:
    asked = {key: fields.pop(key) for key in list(fields) if key in ServiceQuery.__struct_fields__}
    query = PreparedQuery(name=name, service=ServiceQuery(service=service, **asked), **fields)
    made: str = await server.call("PreparedQuery.Apply", op="create", query=query)
    return made


async def explain(server: FakeServer, name: str) -> PreparedQuery:
    reply = await server.call("PreparedQuery.Explain", query_id_or_name=name)
    query: PreparedQuery = reply.query
    return query


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "a", "service": ""}, "Invalid prepared query: Must provide a Service name to query"),
        ({}, "Invalid prepared query: Must be bound to a session"),
        ({"name": "a", "id": "x"}, "ID must be empty when creating a new prepared query"),
        ({"name": "a", "session": "nope"}, 'raft apply failed: invalid session "nope"'),
        ({"name": "a", "token": "<hidden>"}, "Bad Token '<hidden>'"),
        ({"name": "a", "failover": QueryFailoverOptions(nearest_n=-1)}, "Bad NearestN '-1', must be >= 0"),
        (
            {"name": "a", "failover": QueryFailoverOptions(nearest_n=1, targets=[QueryFailoverTarget(peer="p")])},
            "Targets cannot be populated with NearestN or Datacenters",
        ),
        ({"name": "a", "node_meta": {"": "x"}}, "Couldn't load metadata pair ('', 'x'): Key cannot be blank"),
        ({"name": "a", "dns": QueryDNSOptions(ttl="soon")}, "Bad DNS TTL 'soon': time: invalid duration \"soon\""),
        ({"name": "a", "dns": QueryDNSOptions(ttl="-5s")}, "DNS TTL '-5000000000', must be >=0"),
        ({"name": "a", "template": QueryTemplateOptions(type="nope")}, "Bad Template.Type 'nope'"),
        (
            {"name": "a", "template": QueryTemplateOptions(type="name_prefix_match", regexp="(")},
            "raft apply failed: failed compiling template: Bad Regexp: error parsing regexp: missing closing ): `(`",
        ),
        (
            {"name": "a", "template": TEMPLATE, "service": "${name.nope}"},
            "Bad evaluation for '${name.nope}' in Service.Service: 1:3: unknown variable accessed: name.nope",
        ),
        (
            {"name": "a", "template": TEMPLATE, "service": "${name.full"},
            "Bad format '${name.full' in Service.Service: parse error at 1:12: expected \"}\" but found end of string",
        ),
        (
            {"name": "a", "template": TEMPLATE, "service": "${nope(1)}"},
            "Bad evaluation for '${nope(1)}' in Service.Service: 1:3: unknown function called: nope",
        ),
    ],
)
async def test_a_wrong_definition_is_refused_in_words(server: FakeServer, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(RpcError) as failure:
        await create(server, **fields)
    assert text in failure.value.text
    assert (await server.call("PreparedQuery.List")).queries == []


async def test_names_and_ids_do_not_clash(server: FakeServer) -> None:
    made = await create(server, "taken")
    with pytest.raises(RpcError, match="name 'TAKEN' aliases an existing query name"):
        await create(server, "TAKEN")
    with pytest.raises(RpcError, match="aliases an existing query ID"):
        await create(server, made)
    await create(server, template=TEMPLATE)
    with pytest.raises(RpcError, match="a query template with an empty name already exists"):
        await create(server, template=TEMPLATE)


async def test_update_delete_and_lookup_by_id(server: FakeServer) -> None:
    made = await create(server, "first")
    query = PreparedQuery(id=made, name="second", service=ServiceQuery(service="db"))
    await server.call("PreparedQuery.Apply", op="update", query=query)
    assert (await server.call("PreparedQuery.Get", query_id=made)).queries[0].name == "second"
    await server.call("PreparedQuery.Apply", op="delete", query=PreparedQuery(id=made))
    with pytest.raises(RpcError, match="Query not found"):
        await server.call("PreparedQuery.Get", query_id=made)
    with pytest.raises(RpcError, match="Cannot modify non-existent prepared query"):
        await server.call("PreparedQuery.Apply", op="delete", query=PreparedQuery(id=made))
    with pytest.raises(RpcError, match=r"Prepared Query lookup failed: .*UUID must be 36 characters"):
        await server.call("PreparedQuery.Apply", op="update", query=PreparedQuery(id="nope"))
    with pytest.raises(RpcError, match=r"^failed prepared query lookup: index error: UUID must be 36 characters$"):
        await server.call("PreparedQuery.Get", query_id="second")


async def test_a_session_takes_its_queries_along(server: FakeServer) -> None:
    await server.call("Catalog.Register", node="n1", address="10.0.0.1")
    session = await server.call("Session.Apply", op="create", session=Session(node="n1"))
    await create(server, session=session)
    await server.call("Session.Apply", op="destroy", session=Session(id=session))
    assert (await server.call("PreparedQuery.List")).queries == []


async def test_templates_answer_for_what_begins_with_their_name(server: FakeServer) -> None:
    made = await create(
        server,
        "geo-db",
        "mysql-${match(1)}",
        tags=["${match(2)}"],
        template=QueryTemplateOptions(type="name_prefix_match", regexp=r"^geo-db-(.*?)-([^\-]+?)$"),
    )
    short = QueryTemplateOptions(type="name_prefix_match", remove_empty_tags=True)
    await create(
        server,
        "geo-db-x",
        "${name.full}",
        tags=["${match(1)}", "${name.prefix}", "${name.suffix}", "<${agent.segment}>", "$${x}"],
        template=short,
    )
    await create(server, "geo-db-x-static", "fixed")
    found = await explain(server, "geo-db-customer-primary")
    assert (found.service.service, found.service.tags) == ("mysql-customer", ["primary"])
    assert (await explain(server, "geo-db-nomatch")).service.tags == [""]
    found = await explain(server, "geo-db-x-long")
    assert (found.service.service, found.service.tags) == ("geo-db-x-long", ["geo-db-x", "-long", "<>", "${x}"])
    assert (await explain(server, "GEO-DB-X-STATIC")).service.service == "fixed"
    assert (await explain(server, "geo-db-x-static-more")).service.service == "geo-db-x-static-more"
    with pytest.raises(RpcError, match="Query not found"):
        await explain(server, "geo-d")
    with pytest.raises(RpcError, match="can only be resolved up by name, not by ID"):
        await explain(server, made)


async def found_by(server: FakeServer, name: str, **fields: Any) -> list[str]:
    reply = await server.call("PreparedQuery.Execute", query_id_or_name=name, **fields)
    return sorted(row.node.node for row in reply.nodes)


async def test_execute_finds_the_healthy_that_fit(server: FakeServer) -> None:
    for node, status, tags, meta in (
        ("a", "passing", ["primary"], {"rack": "1"}),
        ("b", "warning", ["primary", "old"], {"rack": "1"}),
        ("c", "critical", ["primary"], {"rack": "1"}),
        ("d", "passing", [], {}),
    ):
        await server.call(
            "Catalog.Register",
            node=node,
            address="10.0.0.1",
            node_meta=meta,
            service=NodeService(service="web", tags=tags, meta=meta),
            check=HealthCheck(name="c", status=status, service_id="web"),
        )
    await create(server, "all")
    await create(server, "passing", only_passing=True)
    await create(server, "ignoring", ignore_check_ids=["c"])
    await create(server, "tagged", tags=["PRIMARY", "!old"])
    await create(server, "meta", node_meta={"rack": "1"}, service_meta={"rack": "1"})
    await create(server, "none", "nothing", failover=QueryFailoverOptions(datacenters=["dc9"]))
    assert await found_by(server, "all") == ["a", "b", "d"]
    assert await found_by(server, "passing") == ["a", "d"]
    assert await found_by(server, "ignoring") == ["a", "b", "c", "d"]
    assert await found_by(server, "tagged") == ["a"]
    assert await found_by(server, "meta") == ["a", "b"]
    assert len(await found_by(server, "all", limit=2)) == 2
    reply = await server.call("PreparedQuery.Execute", query_id_or_name="none")
    assert (reply.nodes, reply.datacenter, reply.failovers, reply.index) == ([], "dc1", 0, 1)


async def test_execute_does_not_block(server: FakeServer) -> None:
    await create(server, "q")
    fields = {"min_query_index": 1, "max_query_time": 3600 * 10**9}
    reply = await server.call("PreparedQuery.Execute", query_id_or_name="q", **fields)
    assert reply.index == 1
