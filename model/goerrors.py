"""Failures of the network and of the system in the words of Go's standard library, which clients and people know.

`dial_text` and its like give what Go's `net` package says: `dial tcp 127.0.0.1:1: connect: connection refused` where
Python says `[Errno 111] Connection refused`. Everything that shows such a failure to a user asks here.

`socket` and `ssl` are imported when something has failed: commands that only might fail are to start fast.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority"
_UNKNOWN_AUTHORITY = ("self-signed certificate", "self signed certificate", "unable to get local issuer certificate")
_OTHER_TEXTS = {errno.ETIMEDOUT: "connection timed out", errno.EHOSTUNREACH: "no route to host"}


def split_address(address: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[v6]:port` or `:port`. Raises ValueError with Go's text."""
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket:
            raise ValueError(f"address {address}: missing ']' in address")
        if not rest.startswith(":"):
            raise ValueError(f"address {address}: missing port in address")
        return host, rest[1:]
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address {address}: missing port in address")
    if ":" in host:
        raise ValueError(f"address {address}: too many colons in address")
    return host, port


def endpoint(address: str, network: str = "tcp") -> tuple[str, int]:
    """The host ("localhost" when there is none) and the number of the port. Raises ValueError with Go's text."""
    import socket

    host, text = split_address(address)
    if not (text.isascii() and text.isdigit()):
        try:
            return host or "localhost", socket.getservbyname(text, network)
        except OSError:
            raise ValueError(f"lookup {network}/{text}: unknown port") from None
    port = int(text) if len(text) <= 5 else 65536
    if port > 65535:
        raise ValueError(f"address {text}: invalid port")
    return host or "localhost", port


def shown_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def system_text(error: BaseException) -> str:
    """What the system says of a failed call, as Go writes it: `connection refused`."""
    import socket
    import ssl

    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0 and not isinstance(error, socket.gaierror | ssl.SSLError):
        return _OTHER_TEXTS.get(number) or os.strerror(number).lower()
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def tls_text(error: ssl.SSLError) -> str:
    """What is wrong with a TLS handshake or certificate."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        if reason.startswith(_UNKNOWN_AUTHORITY):
            return UNKNOWN_AUTHORITY
        if "expired" in reason or "not yet valid" in reason:
            return "x509: certificate has expired or is not yet valid"
        if "Hostname mismatch" in reason or "IP address mismatch" in reason:
            name = reason.partition("'")[2].partition("'")[0]
            return f"x509: certificate is not valid for {name}"
        return f"x509: {reason}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if reason in ("wrong version number", "record layer failure", "packet length too long", "http request"):
        return "tls: first record does not look like a TLS handshake"
    return f"remote error: tls: {reason.removeprefix('tlsv1 alert ').removeprefix('tlsv13 alert ')}"


def dial_text(network: str, address: str, error: BaseException) -> str:
    """Why no connection to `address` (host:port, or a path when `network` is `unix`) came about."""
    import socket
    import ssl

    if isinstance(error, TimeoutError) and error.errno is None:
        return f"dial {network} {address}: i/o timeout"
    if isinstance(error, socket.gaierror):
        host = address.rpartition(":")[0].strip("[]") if network != "unix" else address
        return f"dial {network}: {lookup_text(host, error)}"
    if isinstance(error, ssl.SSLError):
        return tls_text(error)
    several = _several(error)
    if several is not None:
        return dial_text(network, address, several)
    if isinstance(error, OSError):
        return f"dial {network} {address}: connect: {system_text(error)}"
    return f"dial {network}: {error}"


def lookup_text(host: str, error: BaseException) -> str:
    """Why a name has no address."""
    import socket

    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"lookup {host}: Temporary failure in name resolution"
    return f"lookup {host}: no such host"


def _several(error: BaseException) -> OSError | None:
    """The first failure when several addresses were tried, and asyncio tells of all in one error without a number."""
    if isinstance(error, OSError) and error.errno is None:
        text = str(error)
        if text.startswith("Multiple exceptions: [Errno "):
            number = text.removeprefix("Multiple exceptions: [Errno ").partition("]")[0]
            if number.isdigit():
                return OSError(int(number), os.strerror(int(number)))
    return None


def io_text(operation: str, network: str, local: str, remote: str, error: BaseException) -> str:
    """Why reading from or writing to (`operation`) an open socket failed."""
    where = f"{local}->{remote}" if local else remote
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"{operation} {network} {where}: i/o timeout"
    return f"{operation} {network} {where}: {operation}: {system_text(error)}"


def file_text(operation: str, path: str, error: OSError) -> str:
    """Why `operation` (open, stat, mkdir …) on a path failed: `open /x: no such file or directory`."""
    return f"{operation} {path}: {system_text(error)}"


def go_text(error: BaseException, operation: str = "open") -> str:
    """Any failure in Go's words; of the system's it tells the path, when there is one, and what was tried with it."""
    import ssl

    if isinstance(error, ssl.SSLError):
        return tls_text(error)
    if isinstance(error, OSError) and error.errno:
        path = error.filename
        return file_text(operation, os.fsdecode(path), error) if isinstance(path, str | bytes) else system_text(error)
    return str(error) or type(error).__name__
