"""Addresses in the configuration, with the host's interfaces replaced."""

import ipaddress

import pytest

from agent.config import addresses
from agent.config.interfaces import InterfaceAddress
from agent.config.load import load_config
from agent.config.settings import ConfigError


def _host(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    found = tuple(InterfaceAddress(f"eth{n}", ipaddress.ip_interface(text)) for n, text in enumerate(texts))
    monkeypatch.setattr(addresses, "_hosts", lambda: found)


def test_templates_stand_wherever_addresses_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "10.0.0.5/24", "192.168.1.1/24", "51.15.1.2/29")
    text = """
        bind_addr = "{{ GetInterfaceIP \\"eth0\\" }}"
        advertise_addr = "{{ GetPrivateIP }}"
        advertise_addr_wan = "{{ GetPublicIP }}"
        client_addr = "{{ GetPrivateInterfaces | join \\"address\\" \\" \\" }} 127.0.0.1 127.0.0.1"
        addresses { dns = "{{ GetInterfaceIP \\"eth1\\" }}" http = "unix:///tmp/x.sock 127.0.0.1" }
        retry_join = ["{{ GetPrivateIPs }}", "consul.example:8301"]
        recursors = ["{{ GetInterfaceIP \\"eth1\\" }}", "8.8.8.8", "8.8.8.8"]
    """
    config, _ = load_config(["-dev", "-hcl", text])
    assert (config.bind_addr, config.advertise_addr, config.advertise_addr_wan) == ("10.0.0.5", "10.0.0.5", "51.15.1.2")
    assert config.client_addrs == ["10.0.0.5", "192.168.1.1", "127.0.0.1"]
    assert config.dns_addrs == ["192.168.1.1"]
    assert config.http_addrs == ["unix:///tmp/x.sock", "127.0.0.1"]
    assert config.retry_join == ["10.0.0.5", "192.168.1.1", "consul.example:8301"]
    assert config.recursors == ["192.168.1.1", "8.8.8.8"]


def test_the_nodes_addresses_by_network_and_family(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch)
    config, _ = load_config(["-dev"])
    assert config.tagged_addresses == dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1")
    text = """
        advertise_addr_ipv4 = "10.0.0.1" advertise_addr_ipv6 = "fd00::1" advertise_addr_wan_ipv6 = "2a00::1"
        tagged_addresses { other = "x" }
    """
    config, _ = load_config(["-dev", "-hcl", text])
    assert config.advertise_addr == "10.0.0.1"
    assert config.tagged_addresses == {
        "lan": "10.0.0.1",
        "lan_ipv4": "10.0.0.1",
        "lan_ipv6": "fd00::1",
        "wan": "2a00::1",
        "wan_ipv6": "2a00::1",
        "other": "x",
    }


@pytest.mark.parametrize(
    ("host", "text", "problem"),
    [
        (("10.0.0.1/8",), 'bind_addr = "{{ GetPublicIP }}"', "bind_addr: no addresses found"),
        (("10.0.0.1/8", "10.0.0.2/8"), 'bind_addr = "{{ GetPrivateIPs }}"', "bind_addr: multiple addresses found"),
        ((), 'bind_addr = "{{ GetPublic }}"', "bind_addr: unable to parse address template"),
        ((), 'client_addr = "{{ GetPrivateIPs }}"', "client_addr: no addresses found"),
        ((), 'advertise_addr_ipv4 = "fd00::1"', "advertise_addr_ipv4: fd00::1 is no IPv4 address"),
        ((), 'advertise_addr_wan = "0.0.0.0"', "advertise_addr_wan cannot be 0.0.0.0"),
        ((), 'retry_join = ["{{ GetPrivateIPs }}"]', "retry_join: no addresses found"),
        ((), 'retry_join = ["provider=aws tag_key=a tag_value=b"]', "cloud auto-join (provider aws)"),
        ((), 'retry_join = ["exec=/bin/find-servers"]', "runs no command"),
        ((), 'retry_join = ["a b"]', "neither an address nor a name"),
        ((), 'recursors = ["0.0.0.0"]', "DNS recursor address cannot be"),
        (("10.0.0.1/8", "10.0.0.2/8"), 'bind_addr = "0.0.0.0"', "Multiple private IPv4 addresses found"),
        (("2a00::1/64", "2a00::2/64"), 'bind_addr = "::"', "Multiple public IPv6 addresses found"),
    ],
)
def test_wrong_addresses(monkeypatch: pytest.MonkeyPatch, host: tuple[str, ...], text: str, problem: str) -> None:
    _host(monkeypatch, *host)
    with pytest.raises(ConfigError) as caught:
        load_config(["-dev", "-hcl", text])
    assert problem in str(caught.value)


def test_the_only_private_address_is_advertised(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "10.0.0.9/8", "51.15.1.2/29", "fd00::3/64")
    assert load_config(["-dev", "-bind=0.0.0.0"])[0].advertise_addr == "10.0.0.9"
    _host(monkeypatch, "10.0.0.9/8", "2a00::9/64")
    assert load_config(["-dev", "-bind=[::]"])[0].advertise_addr == "2a00::9"
