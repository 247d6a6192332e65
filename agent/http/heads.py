"""Heads of plain requests, and of their answers: bytes to values and back."""

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from multidict import CIMultiDict

MAX_HEAD = 16 << 10
MAX_BODY = 256 << 10
"""Bytes up to which a request's head, and its body, can be plain."""

HEAD_ENDS = re.compile(rb"\r?\n\r?\n")
"""Where any head ends, also one whose lines end as they should not."""
_PLAIN_HEAD = re.compile(rb"(GET|PUT|POST|DELETE) (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9_-]+:[ -~\t]*\r\n)*)\r\n")
_NOT_PLAIN = ("Transfer-Encoding", "Expect", "Connection", "Upgrade", "Content-Encoding")
"""Headers that a plain request does not have (but for `Connection: keep-alive`)."""


class Plain(NamedTuple):
    """A plain request's head: where it ends in the buffer, and how long the body is."""

    method: str
    target: str
    headers: CIMultiDict[str]
    end: int
    length: int


def plain_head(buffer: bytes | bytearray, max_head: int = MAX_HEAD) -> Plain | None:
    """The plain request that `buffer` begins with; None for anything else, an unfinished head among it."""
    match = _PLAIN_HEAD.match(buffer, 0, max_head)
    if match is None:
        return None
    method, target, lines = (bytes(part).decode("ascii") for part in match.groups())
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers.add(name, value.strip(" \t"))
    for name in _NOT_PLAIN:
        if name in headers and headers[name].lower() != "keep-alive":
            return None
    length = 0
    if "Content-Length" in headers:
        text = headers["Content-Length"]
        if not text.isdigit() or len(text) > 9 or len(headers.getall("Content-Length")) > 1:
            return None
        length = int(text)
    if length > MAX_BODY or len(headers.getall("Host", ())) != 1:
        return None
    return Plain(method, target, headers, match.end(), length)


_REASONS = {status.value: status.phrase for status in HTTPStatus}
_openings: tuple[int, dict[int, bytes]] = (0, {})


def opening(status: int) -> bytes:
    """An answer's first line and its date."""
    global _openings
    now = int(time.time())
    if _openings[0] != now:
        _openings = (now, {})
    found = _openings[1].get(status)
    if found is None:
        date = formatdate(now, usegmt=True)
        found = _openings[1][status] = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nDate: {date}\r\n".encode()
    return found


def header_lines(headers: Mapping[str, str]) -> bytes:
    """The headers of an answer and the empty line. Raises ValueError when one would break its line."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError("a header's value contains a line break")
    return text.encode("utf-8", "replace") + b"\r\n"


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """An answer's head. Raises ValueError when a header would break its line."""
    return opening(status) + header_lines(headers)
