"""Failures in the words of Go's standard library."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from model.goerrors import dial_text, endpoint, file_text, go_text, io_text, lookup_text, split_address, system_text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connect: connection refused"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connect: connection refused"),
        (OSError(113, "No route to host"), "connect: no route to host"),
        (OSError(101, "x"), "connect: network is unreachable"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] x"), "connect: connection refused"),
        (TimeoutError(), "i/o timeout"),
        (TimeoutError(110, "x"), "connect: connection timed out"),
    ],
)
def test_dialling(error: OSError, text: str) -> None:
    assert dial_text("tcp", "a:1", error) == f"dial tcp a:1: {text}"


async def test_a_real_refusal_of_a_name_with_two_addresses() -> None:
    with pytest.raises(OSError) as caught:
        await asyncio.open_connection("localhost", 1)
    assert dial_text("tcp", "localhost:1", caught.value) == "dial tcp localhost:1: connect: connection refused"


def test_names() -> None:
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert dial_text("tcp", "x.invalid:80", unknown) == "dial tcp: lookup x.invalid: no such host"
    assert lookup_text("x", socket.gaierror(socket.EAI_AGAIN, "")) == ("lookup x: Temporary failure in name resolution")


def test_files_and_sockets() -> None:
    with pytest.raises(OSError) as caught:
        Path("/nosuch/file").read_text()
    assert go_text(caught.value) == "open /nosuch/file: no such file or directory"
    assert go_text(PermissionError(13, "Permission denied", b"/x"), "mkdir") == "mkdir /x: permission denied"
    assert go_text(OSError(28, "x")) == "no space left on device"
    assert go_text(ValueError("odd")) == "odd"
    assert go_text(EOFError()) == "EOFError"
    assert file_text("stat", "/y", OSError(20, "x")) == "stat /y: not a directory"
    reset = ConnectionResetError(104, "x")
    assert io_text("read", "udp", "a:1", "b:2", reset) == "read udp a:1->b:2: read: connection reset by peer"
    assert io_text("read", "tcp", "", "b:2", TimeoutError()) == "read tcp b:2: i/o timeout"
    assert system_text(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"


def test_tls() -> None:
    unknown = ssl.SSLCertVerificationError(1, "x")
    unknown.verify_message = "self-signed certificate in certificate chain"
    assert go_text(unknown) == "x509: certificate signed by unknown authority"
    unknown.verify_message = "certificate has expired"
    assert go_text(unknown) == "x509: certificate has expired or is not yet valid"
    unknown.verify_message = "Hostname mismatch, certificate is not valid for 'a.test'."
    assert go_text(unknown) == "x509: certificate is not valid for a.test"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("a:1", ("a", 1)),
        (":1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("a:domain", ("a", 53)),
        ("a", "address a: missing port in address"),
        ("[::1]", "address [::1]: missing port in address"),
        ("[::1:5", "address [::1:5: missing ']' in address"),
        ("::1:5", "address ::1:5: too many colons in address"),
        ("a:65536", "address 65536: invalid port"),
        ("a:nosuch", "lookup tcp/nosuch: unknown port"),
    ],
)
def test_addresses(address: str, found: tuple[str, int] | str) -> None:
    if isinstance(found, tuple):
        assert endpoint(address) == found
        return
    with pytest.raises(ValueError) as caught:
        endpoint(address)
    assert str(caught.value) == found


def test_parts_of_addresses() -> None:
    assert split_address("a:b") == ("a", "b")
    assert split_address(":") == ("", "")


def test_nothing_slow_is_imported_until_something_fails() -> None:
    code = "import model.goerrors, sys; print('ssl' in sys.modules, 'socket' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"
