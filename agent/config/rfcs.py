"""Networks that RFCs set aside, by the number of the RFC; and which of them are private, and which are forwarded."""

import ipaddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_V4_SPECIAL = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.0.0/29", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32"),
)
_V6_SPECIAL = (
    *("::1/128", "::/128", "64:ff9b::/96", "::ffff:0:0/96", "100::/64", "2001::/23", "2001::/32", "2001:2::/48"),
    *("2001:db8::/32", "2001:10::/28", "2002::/16", "fc00::/7", "fe80::/10"),
)
_BY_NUMBER: dict[int, tuple[str, ...]] = {
    919: ("255.255.255.255/32",),
    1112: ("224.0.0.0/4", "240.0.0.0/4"),
    1122: ("0.0.0.0/8", "127.0.0.0/8"),
    1918: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    2544: ("198.18.0.0/15",),
    2765: ("::ffff:0:0:0/96",),
    2928: ("2001::/23",),
    3056: ("2002::/16",),
    3068: ("192.88.99.0/24",),
    3171: ("224.0.0.0/4",),
    3330: (
        *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
    ),
    3849: ("2001:db8::/32",),
    3879: ("fec0::/10",),
    3927: ("169.254.0.0/16",),
    4038: ("::ffff:0:0/96",),
    4193: ("fc00::/7",),
    4291: ("::/128", "::1/128", "fe80::/10", "ff00::/8"),
    4380: ("2001::/32",),
    4773: ("2001::/23",),
    4843: ("2001:10::/28",),
    5180: ("2001:2::/48",),
    5735: (
        *("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"),
    ),
    5737: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    6052: ("64:ff9b::/96",),
    6333: ("192.0.0.0/29",),
    6598: ("100.64.0.0/10",),
    6666: ("100::/64",),
    6890: (*_V4_SPECIAL, *_V6_SPECIAL),
    7335: ("192.0.0.0/29",),
}
RFCS: dict[int, tuple[Network, ...]] = {
    number: tuple(ipaddress.ip_network(text) for text in texts) for number, texts in _BY_NUMBER.items()
}
"""The networks of each RFC that a template may name."""

_FORWARDED = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("64:ff9b::/96", "100::/64", "2001::/32", "2001:2::/48", "2002::/16", "fc00::/7"),
    )
)
_MULTICAST = (ipaddress.ip_network("224.0.0.0/4"), ipaddress.ip_network("ff00::/8"))


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of some networks."""
    return any(address.version == network.version and address in network for network in networks)


def forwardable(address: Address) -> bool:
    """Whether routers pass an address on: all but those that RFC 6890 says they do not, and multicast."""
    if within(address, _MULTICAST):
        return False
    return within(address, _FORWARDED) or not within(address, RFCS[6890])


def private(address: Address) -> bool:
    """Whether an address is one of RFC 6890 that routers pass on, as those of RFC 1918 are."""
    return within(address, RFCS[6890]) and forwardable(address)
