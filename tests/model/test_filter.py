"""Filter expressions: the recorded error texts, the recorded answers' rules, and that hostile input stays cheap."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.filter import FilterError, compile_filter
from model.structs.catalog import (
    CheckServiceNode,
    ConnectProxyConfig,
    HealthCheck,
    Node,
    NodeService,
    ServiceAddress,
    ServiceNode,
    Upstream,
    Weights,
)

SCENARIOS = Path("../shared/conformance/scenarios/filtering")
PREFIX = "Failed to create boolean expression evaluator: "
CLASSES = (
    ("/v1/agent/services", NodeService),
    ("/v1/agent/checks", HealthCheck),
    ("/v1/catalog/nodes", Node),
    ("/v1/catalog/services", ServiceNode),
    ("/v1/catalog/service/", ServiceNode),
    ("/v1/catalog/connect/", ServiceNode),
    ("/v1/catalog/node/", NodeService),
    ("/v1/catalog/node-services/", NodeService),
    ("/v1/health/service/", CheckServiceNode),
    ("/v1/health/connect/", CheckServiceNode),
    ("/v1/health/ingress/", CheckServiceNode),
    ("/v1/health/", HealthCheck),
)


def recorded_filters() -> Iterator[tuple[str, Any, str | None]]:
    """Expression, struct and the text of the error (None when it was taken) of every recorded question."""
    for name in ("errors", "operators", "services", "health"):
        path = SCENARIOS / f"{name}.json"
        scenario = json.loads(path.read_text()) if path.exists() else {"steps": [], "recorded": []}
        for step, answer in zip(scenario["steps"], scenario["recorded"], strict=True):
            parts = urllib.parse.urlsplit(step.get("path", ""))
            expression = urllib.parse.parse_qs(parts.query, keep_blank_values=True).get("filter")
            cls = next((cls for prefix, cls in CLASSES if parts.path.startswith(prefix)), None)
            if expression and expression[0] and cls is not None:
                failed = answer["status"] != 200
                yield expression[0], cls, answer["text"].removeprefix(PREFIX) if failed else None


@pytest.mark.skipif(not SCENARIOS.exists(), reason="the recorded conversations are not here")
def test_every_recorded_expression_is_taken_or_refused_with_the_recorded_text() -> None:
    count = 0
    for expression, cls, text in recorded_filters():
        count += 1
        if text is None:
            compile_filter(expression, cls)
            continue
        with pytest.raises(FilterError) as failure:
            compile_filter(expression, cls)
        assert str(failure.value) == text, expression
    assert count > 150


NODE = Node(node="web-1", address="10.0.0.1", datacenter="dc1", meta={"env": "prod", "with-dash": "d", "num": "5"})


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ('Node == "web-1"', True),
        ("Node == `web-1`", True),
        ('Node != "web-1"', False),
        ('"web" in Node', True),
        ('Node not contains "db"', True),
        ('Node matches "^web-[0-9]$"', True),
        ('Node not matches "eb"', False),
        ("Meta is empty", False),
        ("TaggedAddresses is empty", True),
        ("env in Meta", True),
        ("Meta.env == prod", True),
        ('Meta["with-dash"] == d', True),
        ("Meta.num == 5", True),
        ('Meta.nosuch == ""', False),
        ('Meta.nosuch != ""', True),
        ('Meta.nosuch matches ".*"', True),
        ("Meta.env == dev or Datacenter == dc1", True),
        ("Meta.env == dev or Datacenter == dc1 and Address == x", False),
        ("not Meta.env == dev and not not Datacenter == dc1", True),
        ("( Meta.env==dev or ((Meta.env==prod)) ) and Datacenter==dc1", True),
        ('Node=="web\\u002d1"', True),
        ('Meta\n.env == "prod"', None),
    ],
)
def test_operators(expression: str, fits: bool | None) -> None:
    if fits is None:
        with pytest.raises(FilterError):
            compile_filter(expression, Node)
        return
    assert compile_filter(expression, Node)(NODE) is fits


def test_lists_of_structs_fit_when_any_element_does() -> None:
    row = CheckServiceNode(
        node=NODE,
        service=NodeService(
            service="web",
            port=80,
            enable_tag_override=True,
            tags=["a"],
            weights=Weights(passing=5),
            tagged_addresses={"wan": ServiceAddress(address="1.2.3.4", port=81)},
            proxy=ConnectProxyConfig(upstreams=[Upstream(destination_name="db"), Upstream(destination_name="q")]),
        ),
        checks=[HealthCheck(status="passing"), HealthCheck(status="warning", service_tags=["t"])],
    )

    def fits(expression: str) -> bool:
        return compile_filter(expression, CheckServiceNode)(row)

    assert fits("Checks.Status == warning") and fits("Checks.Status != warning")
    assert not fits("Checks.Status == critical") and fits("not Checks.Status == critical")
    assert fits("t in Checks.ServiceTags") and fits("Checks is not empty")
    assert fits("Service.Port == 80") and fits('Service.Port == "0x50"') and fits('Service.Port != "81"')
    assert fits("Service.EnableTagOverride == t") and fits("Service.Weights.Passing == 5")
    assert fits('Service.TaggedAddresses.wan.Address == "1.2.3.4"') and fits("Service.TaggedAddresses.wan.Port == 81")
    assert fits("Service.Proxy.Upstreams.DestinationName == q")
    assert not compile_filter("Node.Node == x", CheckServiceNode)(CheckServiceNode())


def test_deep_and_long_expressions_are_bounded() -> None:
    assert compile_filter("(" * 20 + "Node==a" + ")" * 20, Node)(Node(node="a"))
    with pytest.raises(FilterError, match="nested too deeply"):
        compile_filter("(" * 5000 + "Node==a" + ")" * 5000, Node)
    assert compile_filter("Node==a or " * 1000 + "Node==b", Node)(Node(node="b"))
    with pytest.raises(FilterError, match="longer than"):
        compile_filter("Node==a or " * 2000 + "Node==a", Node)


PIECES = st.sampled_from([*"()[]. \"`-0a=!\\", "not ", " and ", " or ", "Node", "==", " in ", " is empty"])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=25))
def test_any_text_is_taken_or_refused(pieces: list[str]) -> None:
    try:
        test = compile_filter("".join(pieces), Node)
    except FilterError:
        return
    assert test(NODE) in (True, False)
