"""Configuration entries as people write them, and what they are told when they err."""

from typing import Any

import pytest

from model.structs.config_entries import ProxyConfigEntry, ServiceConfigEntry, TerminatingGatewayConfigEntry
from model.structs.routing import ServiceResolverConfigEntry, ServiceSplitterConfigEntry
from model.weak_decode import WeakError, decode_weakly


def test_keys_in_any_spelling() -> None:
    entry = decode_weakly(
        ServiceConfigEntry,
        {"kind": "service-defaults", "NAME": "web", "transparent_proxy": {"outbound_listener_port": 15002}},
    )
    assert entry.name == "web"
    assert entry.transparent_proxy.outbound_listener_port == 15002


def test_weak_types() -> None:
    entry = decode_weakly(
        ServiceConfigEntry,
        {"Name": 5, "MaxInboundConnections": "7", "Expose": [{"Checks": "true", "Paths": {"Path": "/h"}}]},
    )
    assert (entry.name, entry.max_inbound_connections, entry.expose.checks) == ("5", 7, True)
    assert [path.path for path in entry.expose.paths or ()] == ["/h"]


@pytest.mark.parametrize(
    ("cls", "value", "text"),
    [
        (ProxyConfigEntry, {"Config": "nope"}, "1 error(s) decoding:\n\n* 'Config' expected a map, got 'string'"),
        (
            ServiceResolverConfigEntry,
            {"ConnectTimeout": "soon"},
            "1 error(s) decoding:\n\n* error decoding 'ConnectTimeout': time: invalid duration \"soon\"",
        ),
        (
            ServiceConfigEntry,
            {"MaxInboundConnections": 1 << 63},
            "1 error(s) decoding:\n\n* cannot parse 'MaxInboundConnections', 9223372036854775808 overflows int",
        ),
        (
            ServiceConfigEntry,
            {"MaxInboundConnections": "0x8000000000000000"},
            "1 error(s) decoding:\n\n* cannot parse 'MaxInboundConnections' as int: strconv.ParseInt: "
            'parsing "0x8000000000000000": value out of range',
        ),
        (
            ProxyConfigEntry,
            {"Config": {"a": 10**400}},
            "1 error(s) decoding:\n\n* error decoding 'Config[a]': json: cannot unmarshal number "
            f"{10**400} into Go value of type float64",
        ),
        (ProxyConfigEntry, {"Bogus": 1}, '1 error occurred:\n\t* invalid config key "Bogus"\n\n'),
        (
            TerminatingGatewayConfigEntry,
            {"Services": [{"Name": "a", "Namespace": "*"}]},
            '1 error occurred:\n\t* invalid config key "Services[0].Namespace", '
            "namespaces are a consul enterprise feature\n\n",
        ),
        (
            ServiceConfigEntry,
            {"a": 1, "b": 2},
            '2 errors occurred:\n\t* invalid config key "a"\n\t* invalid config key "b"\n\n',
        ),
        (
            ServiceSplitterConfigEntry,
            {"Splits": [{"Weight": "many"}]},
            "1 error(s) decoding:\n\n* cannot parse 'Splits[0].Weight' as float: "
            'strconv.ParseFloat: parsing "many": invalid syntax',
        ),
    ],
)
def test_errors(cls: Any, value: dict[str, Any], text: str) -> None:
    with pytest.raises(WeakError) as caught:
        decode_weakly(cls, value)
    assert str(caught.value) == text


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(WeakError) as caught:
        decode_weakly(ServiceConfigEntry, {"Name": {}, "MaxInboundConnections": "x"})
    assert str(caught.value).startswith("2 error(s) decoding:\n\n* 'Name' expected type 'string'")
