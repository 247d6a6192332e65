"""From definitions to services and checks: what is refused, and with which words."""

from typing import Any

import pytest

from agent.checks.rules import problem_with
from agent.checks.runner import expired_output
from agent.definitions import DefinitionError, Expanded, check_of, expand
from agent.http.agent_shown import shown_service
from model.gojson import JsonError, from_json
from model.structs.catalog import CheckType, NodeService, ServiceDefinition


def register(**raw: Any) -> list[Expanded]:
    definition = from_json(ServiceDefinition, raw, style="agent")
    return expand(definition, "node1", scripts_allowed=False, free_port=lambda _: 21000)


def refused(**raw: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        register(Name="x", **raw)
    return str(caught.value).removeprefix("Validation failed: 1 error occurred:\n\t* ").removesuffix("\n\n")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (
            {"Port": 1, "Connect": {"SidecarService": {"ID": "other"}}},
            "A SidecarService cannot specify an ID as this is managed by the agent",
        ),
        (
            {"Port": 1, "Connect": {"SidecarService": {"Connect": {"SidecarService": {}}}}},
            "A SidecarService cannot have a nested SidecarService",
        ),
        (
            {"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "web"}},
            "Port or SocketPath must be set for a connect-proxy",
        ),
        (
            {"Kind": "mesh-gateway", "Port": 1, "Proxy": {"Upstreams": [{"DestinationName": "a"}]}},
            "The Proxy.Upstreams configuration is invalid for a mesh-gateway",
        ),
    ],
)
def test_kinds(raw: dict[str, Any], text: str) -> None:
    assert refused(**raw) == text


@pytest.mark.parametrize(
    ("upstreams", "text"),
    [
        ([{"DestinationName": "*"}], "upstream destination name cannot be a wildcard"),
        ([{}], "upstream destination name cannot be empty"),
        (
            [{"DestinationName": "a", "LocalBindPort": 1}, {"DestinationName": "a", "LocalBindPort": 2}],
            'upstreams cannot contain duplicates of [type="service", name="a", partition="", namespace="", peer="", '
            'datacenter=""]',
        ),
        (
            [{"DestinationName": "a", "LocalBindPort": 1}, {"DestinationName": "b", "LocalBindPort": 1}],
            'upstreams cannot contain duplicates by local bind address and port or unix path; "127.0.0.1:1" is '
            "specified twice",
        ),
    ],
)
def test_upstreams(upstreams: list[dict[str, Any]], text: str) -> None:
    assert (
        refused(Kind="connect-proxy", Port=1, Proxy={"DestinationServiceName": "w", "Upstreams": upstreams}) == text
    )


def test_older_spellings() -> None:
    assert from_json(CheckType, {"Args": ["true"]}, style="agent").script_args == ["true"]
    with pytest.raises(JsonError, match="unknown field"):
        from_json(CheckType, {"Args": ["true"]})
    assert register(Name="x", Port=1, Connect={"Proxy": {}})[0].service.service == "x"


def test_wrong_types_are_named_as_consul_does() -> None:
    with pytest.raises(JsonError) as caught:
        from_json(ServiceDefinition, {"Meta": {"n": 1}}, style="agent")
    assert str(caught.value) == "json: cannot unmarshal number into Go struct field .Alias.Meta of type string"


def test_checks_of_their_own_show_their_interval() -> None:
    check, service = CheckType(ttl=1), NodeService(id="web", service="web")
    assert check_of(check, "n", service, "c", "c").interval == "0s"
    assert check_of(check, "n", service, "c", "c", inline=True).interval == ""


def test_alias_checks_may_name_an_interval() -> None:
    assert problem_with(CheckType(alias_service="web", interval=10)) == ""


def test_expired_checks_repeat_what_was_said() -> None:
    assert expired_output("") == "TTL expired"
    assert expired_output("fine") == "TTL expired (last output before timeout follows): fine"


def test_only_proxies_show_a_proxy() -> None:
    def shown(**raw: Any) -> dict[str, Any]:
        return shown_service(register(Name="x", Port=1, **raw)[0].service, "dc1")

    assert "Proxy" not in shown(Proxy={"DestinationServiceName": "y"})
    assert shown(Kind="terminating-gateway")["Proxy"] == {"MeshGateway": {}, "Expose": {}}
    upstream = {"DestinationName": "z", "LocalBindPort": 1}
    proxy = shown(Kind="connect-proxy", Proxy={"DestinationServiceName": "y", "Upstreams": [upstream]})["Proxy"]
    assert proxy["Upstreams"] == [{**upstream, "DestinationType": "service", "MeshGateway": {}}]
