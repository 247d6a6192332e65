"""The addresses of this host's network interfaces, as templates in the configuration choose among them."""

import contextlib
import ipaddress
import socket
from pathlib import Path
from typing import NamedTuple

from agent.config.rfcs import Address, forwardable, private

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_UP_IN_TABLE = 1
_ZERO_V6 = "0" * 32


class InterfaceAddress(NamedTuple):
    """An address with its network, the interface that has it, and the interface's flags."""

    name: str
    at: Interface
    interface_flags: frozenset[str] = frozenset(("up",))
    """Of "up", "broadcast", "loopback", "point-to-point", "multicast"."""
    default: bool = False
    """Whether the interface has the default route."""

    @property
    def ip(self) -> Address:
        """The bare address."""
        return self.at.ip

    @property
    def private(self) -> bool:
        """Whether the address is private, the interface up, and routers pass the address on."""
        return private(self.ip) and "up" in self.flags

    @property
    def public(self) -> bool:
        """Whether the address is forwarded and not private, and the interface up."""
        return forwardable(self.ip) and not private(self.ip) and "up" in self.flags

    @property
    def flags(self) -> frozenset[str]:
        """The interface's flags and what follows from the address, in the words that `include "flags"` takes."""
        ip = self.ip
        found = set(self.interface_flags)
        if "up" not in found:
            found.add("down")
        if forwardable(ip):
            found.add("forwardable")
        if ip.is_loopback:
            found.add("loopback")
        if ip.is_unspecified:
            found.add("unspecified")
        if ip.is_multicast:
            found.add("multicast")
            link, local = (
                (ip in _LINK_MULTICAST, False)
                if isinstance(ip, ipaddress.IPv4Address)
                else (ip.packed[1] & 15 == 2, ip.packed[1] & 15 == 1)
            )
            found.update(["link-local multicast"] * link + ["interface-local multicast"] * local)
        elif ip.is_link_local:
            found.add("link-local unicast")
        elif not (ip.is_loopback or ip.is_unspecified) and str(ip) != "255.255.255.255":
            found.add("global unicast")
        return frozenset(found)


_LINK_MULTICAST = ipaddress.ip_network("224.0.0.0/24")


def this_hosts() -> list[InterfaceAddress]:
    """All addresses of this host, in the order of their interfaces."""
    import psutil  # Few configurations need it, and it takes a while to load.

    stats = psutil.net_if_stats()
    defaults = _default_interfaces()
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        state = stats.get(name)
        words = set(getattr(state, "flags", "").replace("pointopoint", "point-to-point").split(","))
        flags = frozenset(words & {"broadcast", "loopback", "point-to-point", "multicast"})
        if state is not None and state.isup:
            flags |= {"up"}
        for one in addresses:
            if one.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            text = one.address.partition("%")[0]
            with contextlib.suppress(ValueError):
                mask = _mask_bits(one.netmask, 32 if one.family == socket.AF_INET else 128)
                found.append(InterfaceAddress(name, ipaddress.ip_interface(f"{text}/{mask}"), flags, name in defaults))
    return found


def _mask_bits(netmask: str | None, full: int) -> int:
    """The length of a netmask; a missing one is a host's."""
    if not netmask:
        return full
    return int(ipaddress.ip_address(netmask)).bit_count()


def _default_interfaces() -> set[str]:
    """The interfaces that the routing tables send to what no other route is for."""
    found = set()
    for line in _lines("/proc/net/route")[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == "00000000" and words[7] == "00000000" and int(words[3], 16) & _UP_IN_TABLE:
            found.add(words[0])
    for line in _lines("/proc/net/ipv6_route"):
        words = line.split()
        if len(words) == 10 and words[0] == _ZERO_V6 and words[1] == "00" and words[9] != "lo":
            found.add(words[9])
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
