"""What names under the domain ask for."""

import pytest

from agent.dns.names import Asked, parse


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("", Asked("apex")),
        ("web", Asked("")),
        ("service", Asked("")),
        ("web.service", Asked("service", "web", "", "dc1")),
        ("v1.Web.service.DC2", Asked("service", "Web", "v1", "dc2")),
        ("a.b.web.service", Asked("service", "web", "a.b", "dc1")),
        ("web.service.a.b", Asked("")),
        ("web.service.dc1.dc", Asked("")),
        ("_web._tcp.service", Asked("service", "web", "", "dc1")),
        ("_web._udp.service", Asked("service", "web", "udp", "dc1")),
        ("_web._Amqp.dc2", Asked("service", "web", "Amqp", "dc2")),
        ("_web._tcp", Asked("service", "web", "", "dc1")),
        ("_web._tcp.query", Asked("query", "_web._tcp", "", "dc1")),
        ("_web._tcp.connect", Asked("")),
        ("_web._tcp.node", Asked("empty")),
        ("x.web.connect", Asked("connect", "web", "", "dc1")),
        ("dotted.name.query.dc1", Asked("query", "dotted.name", "", "dc1")),
        ("a.b.node", Asked("node", "a.b", "", "dc1")),
        ("C000020A.addr.dc2", Asked("addr", "c000020a", "", "dc2")),
        ("c000020a.addr.dc1.dc", Asked("addr", "c000020a", "", "dc1")),
        ("x.c000020a.addr", Asked("")),
        ("x.web.virtual", Asked("virtual", "web", "", "dc1")),
        ("web.virtual.other", Asked("virtual", "web", "", "dc1", peer="other")),
        ("virtual", Asked("")),
    ],
)
def test_names(name: str, asked: Asked) -> None:
    assert parse(name.split(".") if name else [], "dc1") == asked
