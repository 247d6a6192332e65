"""The documented selectors of each endpoint's filter, and which comparisons each takes."""

import pytest

from model.codec import Wire
from model.filter import FilterError, compile_filter
from model.structs.catalog import CheckServiceNode, HealthCheck, Node, NodeService, ServiceNode
from model.structs.intentions import Intention

FORMS = {
    "equal": "{} == {}",
    "not equal": "{} != {}",
    "in": "{1} in {0}",
    "not in": "{1} not in {0}",
    "contains": "{} contains {}",
    "not contains": "{} not contains {}",
    "empty": "{} is empty",
    "not empty": "{} is not empty",
    "matches": "{} matches {}",
    "not matches": "{} not matches {}",
}
MEMBERS = ("in", "not in", "contains", "not contains")
TEXT = ("equal", "not equal", *MEMBERS, "matches", "not matches")
NUMBER = TRUTH = ("equal", "not equal")
TEXTS = MAP = (*MEMBERS, "empty", "not empty")
STRUCTS = ("empty", "not empty")

PROXY = {
    "DestinationServiceID": TEXT,
    "DestinationServiceName": TEXT,
    "LocalServiceAddress": TEXT,
    "LocalServicePort": NUMBER,
    "Mode": TEXT,
    "TransparentProxy.OutboundListenerPort": NUMBER,
    "MeshGateway.Mode": TEXT,
    "Upstreams": STRUCTS,
    "Upstreams.Datacenter": TEXT,
    "Upstreams.DestinationName": TEXT,
    "Upstreams.DestinationNamespace": TEXT,
    "Upstreams.DestinationType": TEXT,
    "Upstreams.LocalBindAddress": TEXT,
    "Upstreams.LocalBindPort": NUMBER,
    "Upstreams.MeshGateway.Mode": TEXT,
}
CHECK = {
    **dict.fromkeys(("CheckID", "Name", "Node", "Notes", "Output", "ServiceID", "ServiceName", "Status"), TEXT),
    "ServiceTags": TEXTS,
}
NODE = {
    **dict.fromkeys(("Address", "Datacenter", "ID", "Node", "Meta.rack", "TaggedAddresses.lan"), TEXT),
    "Meta": MAP,
    "TaggedAddresses": MAP,
}
SERVICE = {
    **dict.fromkeys(("Address", "ID", "Kind", "Meta.rack", "Service", "TaggedAddresses.lan.Address"), TEXT),
    "Connect.Native": TRUTH,
    "EnableTagOverride": TRUTH,
    "Meta": MAP,
    "Port": NUMBER,
    **{f"Proxy.{name}": kind for name, kind in PROXY.items()},
    "TaggedAddresses": MAP,
    "TaggedAddresses.lan.Port": NUMBER,
    "Tags": TEXTS,
    "Weights.Passing": NUMBER,
    "Weights.Warning": NUMBER,
}
ROW = {
    **dict.fromkeys(("Address", "Datacenter", "ID", "Node", "NodeMeta.rack", "TaggedAddresses.lan"), TEXT),
    "NodeMeta": MAP,
    "TaggedAddresses": MAP,
    "ServiceName": TEXT,
    **{f"Service{name}": kind for name, kind in SERVICE.items() if name != "Service"},
}
INSTANCE = {
    "Checks": STRUCTS,
    **{f"Checks.{name}": kind for name, kind in CHECK.items()},
    **{f"Node.{name}": kind for name, kind in NODE.items()},
    **{f"Service.{name}": kind for name, kind in SERVICE.items()},
}
INTENTION = {
    **dict.fromkeys(("Action", "Description", "DestinationNS", "DestinationName", "ID", "Meta.rack"), TEXT),
    **dict.fromkeys(("SourceNS", "SourceName", "SourceType"), TEXT),
    "Meta": MAP,
    "Precedence": NUMBER,
}
ALL = {
    HealthCheck: CHECK,
    Node: NODE,
    NodeService: SERVICE,
    ServiceNode: ROW,
    CheckServiceNode: INSTANCE,
    Intention: INTENTION,
}


@pytest.mark.parametrize(
    ("cls", "selector", "kinds"),
    [(cls, selector, kinds) for cls, table in ALL.items() for selector, kinds in table.items()],
)
def test_comparisons(cls: type[Wire], selector: str, kinds: tuple[str, ...]) -> None:
    value = "true" if kinds is TRUTH and selector.endswith(("Native", "Override")) else "1"
    for form, template in FORMS.items():
        expression = template.format(selector, value)
        if form in kinds:
            compile_filter(expression, cls)
        else:
            with pytest.raises(FilterError, match=f'Invalid match operator ".*" for selector "{selector}"'):
                compile_filter(expression, cls)


@pytest.mark.parametrize("cls", list(ALL))
@pytest.mark.parametrize(
    "selector", ["CreateIndex", "ModifyIndex", "Nope", "Meta.a.b", "Node.Nope", "Checks.Definition"]
)
def test_what_no_filter_sees(cls: type[Wire], selector: str) -> None:
    with pytest.raises(FilterError, match="is not valid"):
        compile_filter(f"{selector} == 1", cls)


def test_keys_with_dots_and_quotes() -> None:
    node = Node(meta={"a.b": "1", 'it\'s "x"': "2", "plain": "3"})
    for expression, expected in (
        ('Meta["a.b"] == 1', True),
        ("Meta[`a.b`] == `1`", True),
        ('Meta[`it\'s "x"`] == "2"', True),
        ("Meta.plain == 3 and Meta[`a.b`] != 2", True),
        ('"a.b" in Meta', True),
        ("a.b in Meta", True),
        ('Meta["none"] == 1', False),
        ('Meta["none"] != 1', True),
        ("Meta.none is empty", None),
        ("not (Meta.plain == 3 or Meta.plain == 4)", False),
        ("Meta.plain matches `^[0-9]$`", True),
        ("Meta.plain not matches `^3`", False),
    ):
        if expected is None:
            with pytest.raises(FilterError):
                compile_filter(expression, Node)
        else:
            assert compile_filter(expression, Node)(node) is expected, expression
