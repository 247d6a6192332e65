"""Templates for addresses, over a list of interfaces that is handed in."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.interfaces import InterfaceAddress, this_hosts
from agent.config.template import MAX_TEMPLATE, TemplateError, render


def _at(name: str, text: str, *flags: str, default: bool = False) -> InterfaceAddress:
    return InterfaceAddress(name, ipaddress.ip_interface(text), frozenset(flags or ("up", "broadcast")), default)


HOST = [
    _at("lo", "127.0.0.1/8", "up", "loopback"),
    _at("lo", "::1/128", "up", "loopback"),
    _at("eth0", "10.1.2.3/16", default=True),
    _at("eth0", "fe80::1/64", default=True),
    _at("eth0", "2a00:1450::5/64", default=True),
    _at("eth1", "192.168.7.9/24"),
    _at("br-x", "172.17.0.1/16"),
    _at("wan0", "51.15.1.2/29"),
    _at("off0", "10.9.9.9/24", "broadcast"),
]


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("plain", "plain"),
        ("{{ GetPrivateIP }}", "10.1.2.3"),
        ("{{GetPublicIP}}", "51.15.1.2"),
        ("{{ GetPublicIPs }}", "51.15.1.2 2a00:1450::5"),
        ("{{ GetPrivateIPs }}", "10.1.2.3 172.17.0.1 192.168.7.9"),
        ('{{ GetInterfaceIP "eth1" }}', "192.168.7.9"),
        ('{{ GetInterfaceIPs "eth0" }}', "10.1.2.3 2a00:1450::5"),
        ('{{ GetInterfaceIP "lo" }}', ""),
        ('{{ GetInterfaceIP "none" }}', ""),
        ('{{ GetPrivateInterfaces | include "network" "10.0.0.0/8" | attr "address" }}', "10.1.2.3"),
        (
            '{{ GetPrivateInterfaces | include "network" "10.0.0.0/8|192.168.0.0/16" | join "address" "," }}',
            "10.1.2.3,192.168.7.9",
        ),
        (
            '{{ GetAllInterfaces | include "name" "^eth" | include "flags" "forwardable|up" | attr "address" }}',
            "10.1.2.3",
        ),
        ('{{ GetPrivateInterfaces | exclude "type" "ipv6" | join "address" " " }}', "10.1.2.3 172.17.0.1 192.168.7.9"),
        ('{{ GetPrivateInterfaces | exclude "name" "br.*" | join "address" " " }}', "10.1.2.3 192.168.7.9"),
        (
            '{{ GetPrivateIP }} {{ GetAllInterfaces | include "flags" "loopback" | join "address" " " }}',
            "10.1.2.3 127.0.0.1 ::1",
        ),
        ('{{ GetAllInterfaces | include "flags" "down" | attr "address" }}', "10.9.9.9"),
        (
            '{{ GetAllInterfaces | include "rfc" "1918" | join "address" " " }}',
            "10.1.2.3 192.168.7.9 172.17.0.1 10.9.9.9",
        ),
        ('{{ GetAllInterfaces | exclude "RFC" "6890" | include "type" "IPv4" | join "name" " " }}', "wan0"),
        ('{{ GetDefaultInterfaces | include "type" "IPv4" | attr "name" }}', "eth0"),
        ('{{ GetAllInterfaces | include "size" "/29" | attr "network" }}', "51.15.1.0/29"),
        ('{{ GetAllInterfaces | include "address" "^10\\\\." | join "address" " " }}', "10.1.2.3 10.9.9.9"),
        ('{{ GetAllInterfaces | include "address" `^10\\.` | join "address" " " }}', "10.1.2.3 10.9.9.9"),
        ('{{ GetAllInterfaces | include "type" "IP" | sort "-type,-address" | limit 1 | attr "address" }}', "fe80::1"),
        ('{{ GetAllInterfaces | include "type" "ipv4" | sort "size,name" | attr "address" }}', "127.0.0.1"),
        ('{{ GetAllInterfaces | sort "default,type" | limit 1 | attr "name" }}', "eth0"),
        ('{{ GetAllInterfaces | sort "name" | unique "name" | join "name" " " }}', "br-x eth0 eth1 lo off0 wan0"),
        ('{{ GetPrivateInterfaces | offset 1 | limit 1 | attr "address" }}', "172.17.0.1"),
        ('{{ GetPrivateInterfaces | offset "-1" | attr "address" }}', "192.168.7.9"),
        ('{{ GetPrivateInterfaces | math "address" "+256" | attr "address" }}', "10.1.3.3"),
        ('{{ GetPrivateInterfaces | math "network" "+2" | attr "address" }}', "10.1.0.2"),
        ('{{ GetPrivateInterfaces | math "network" "-1" | attr "address" }}', "10.1.255.254"),
        ('{{ GetPrivateInterfaces | math "mask" "8" | attr "string" }}', "10.0.0.0/8"),
        ('{{ GetPrivateInterfaces | math "mask" "24" | attr "string" }}', "10.1.2.0/16"),
        ('{{ . | include "name" "wan0" | attr "broadcast" }}', "51.15.1.7"),
        ('{{ attr "netmask" (GetPrivateInterfaces | limit 1) }}', "255.255.0.0"),
        ('{{ GetPrivateInterfaces | attr "hex" }}', "0a010203"),
        ('{{ GetPrivateInterfaces | attr "octets" }}', "10 1 2 3"),
        ('{{ GetPrivateInterfaces | attr "first_usable" }}', "10.1.0.1"),
        ('{{ GetPrivateInterfaces | attr "last_usable" }}', "10.1.255.254"),
        ('{{ GetPrivateInterfaces | attr "size" }}', "65536"),
        ('{{ GetPrivateInterfaces | include "name" "nothing" | attr "address" }}', ""),
    ],
)
def test_what_templates_give(template: str, result: str) -> None:
    assert render(template, HOST) == result


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ GetPrivateIP", "unclosed template"),
        ("{{ }}", "the template is empty"),
        ("{{ GetNothing }}", 'function "GetNothing" not defined'),
        ("{{ GetAllInterfaces }}", "gives a list of addresses"),
        ("{{ GetAllInterfaces | }}", "a function is expected"),
        ('{{ GetAllInterfaces | attr "nope" }}', 'unsupported attribute "nope"'),
        ('{{ GetAllInterfaces | include "name" "[" }}', "error parsing regexp: missing closing ]"),
        ('{{ GetAllInterfaces | include "nothing" "x" }}', 'unsupported selector "nothing"'),
        ('{{ GetAllInterfaces | include "flags" "upp" }}', 'unsupported flag "upp"'),
        ('{{ GetAllInterfaces | include "rfc" "1" }}', 'unsupported RFC "1"'),
        ('{{ GetAllInterfaces | include "network" "10.0.0.0" | include "network" "x" }}', "does not appear to be"),
        ('{{ GetAllInterfaces | include "type" "ipx" }}', 'unsupported type "ipx"'),
        ('{{ GetAllInterfaces | include "name" }}', "wrong number of args for include: want 3 got 2"),
        ('{{ GetAllInterfaces | sort "colour" }}', 'unsupported sort type "colour"'),
        ("{{ GetAllInterfaces | limit -1 }}", "must not be negative"),
        ('{{ GetAllInterfaces | limit "x" }}', "expected a number"),
        ('{{ GetPrivateIP | attr "address" }}', "expected a list of addresses"),
        ("{{ GetAllInterfaces | offset 99 }}", "unable to seek past the end"),
        ('{{ GetAllInterfaces | math "address" "1" }}', "no number with its sign"),
        ('{{ GetAllInterfaces | unique "flags" }}', "unsupported argument"),
        ("{{ range GetAllInterfaces }}{{ end }}", '"range" is not supported'),
        ("{{ GetPrivateIP ) }}", "unexpected ')'"),
        ("{{ " + "(" * 20 + "GetPrivateIP" + ")" * 20 + " }}", "nested too deeply"),
        ("{{ GetPrivateIP }}" + "x" * MAX_TEMPLATE, "characters"),
        ("{{ $x }}", "unexpected '$x'"),
    ],
)
def test_wrong_templates_are_refused_with_the_reason(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(template, HOST)
    assert problem in str(caught.value)


def test_trimming_takes_the_blanks_beside_a_template() -> None:
    assert render("a {{- GetPrivateIP -}} b", HOST) == "a10.1.2.3b"
    assert render("a {{- GetPrivateIP }}", HOST) == "a10.1.2.3"
    assert render("a {{- /* nothing */ -}} b", HOST) == "ab"
    assert render("a{{/* nothing */}}b", HOST) == "ab"


@given(st.text(alphabet='{}()|."`\\ GetAllInterfacesPrivateIP attr"address"-1,', max_size=60))
def test_any_text_gives_a_result_or_a_template_error(text: str) -> None:
    try:
        assert isinstance(render(text, HOST), str)
    except TemplateError:
        pass


def test_this_host_has_a_loopback_address() -> None:
    found = this_hosts()
    assert any(one.ip.is_loopback and "loopback" in one.flags and "up" in one.flags for one in found)
    assert render('{{ GetAllInterfaces | include "flags" "loopback" | include "type" "IPv4" | attr "address" }}', found)
