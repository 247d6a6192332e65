"""HTTP ports that are open before the agent is up.

Loading an agent's modules takes most of the time that it needs to start. Whoever connects meanwhile is not refused but
waits: test harnesses that start an agent give it two seconds to answer.
"""

import ipaddress
import socket
from collections.abc import Iterable

from rpc.addresses import EVERYWHERE

BACKLOG = 1024
Ports = dict[tuple[str, int], socket.socket]
"""Listening sockets by address and port."""


def open_early(addresses: Iterable[str], port: int) -> Ports:
    """Listen where that is possible at once: at IP addresses. What goes wrong here is told when it is tried again."""
    found: Ports = {}
    for address in addresses if port > 0 else ():
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        except ValueError:
            continue
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != EVERYWHERE)
            one.setblocking(False)
            one.bind((address, port))
            one.listen(BACKLOG)
        except OSError:
            one.close()
            continue
        found[address, port] = one
    return found
