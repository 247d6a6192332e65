"""Messages of memberlist and serf as bytes.

Old-spec msgpack (raw strings, no bin) in both directions, new-spec understood. A packet is layers outside in: label
and encryption (`gossip.envelope`), CRC, then compound and compressed ones to a bounded depth, then single messages.
Real members compress by default, so compression is read; it is not written, because Python would need more time for
that than the network saves.

Source: the published wire formats of memberlist 0.5 and serf 0.10, as recorded from Consul 1.14.
"""

import struct
import zlib
from typing import Any

import msgpack

PING, INDIRECT_PING, ACK, SUSPECT, ALIVE, DEAD, PUSH_PULL = range(7)
COMPOUND, USER, COMPRESSED, ENCRYPTED, NACK, CRC, ERROR = 7, 8, 9, 10, 11, 12, 13
LEAVE_INTENT, JOIN_INTENT, STATE, USER_EVENT, QUERY, QUERY_RESPONSE = range(6)
CONFLICT_RESPONSE, KEY_REQUEST, KEY_RESPONSE, RELAY = range(6, 10)

MAX_PACKET = 65536
MAX_DECOMPRESSED = 4 << 20
MAX_STREAM = 20 << 20
MAX_NODES = 65536
MOST_LTIME = 1 << 62
MOST_WITNESSED = 1 << 61
"""Clocks follow times up to here: so they can count on from whatever anybody says without leaving the range."""
_MAX_LAYERS = 8

VERSIONS = bytes((1, 5, 2, 2, 5, 4))
"""Protocol min, max, current; delegate (serf) min, max, current."""


class GossipError(ValueError):
    """Bytes that are no message."""


def pack(body: dict[str, Any]) -> bytes:
    """A message's body: keys in byte order."""
    ordered = {key: body[key] for key in sorted(body)}
    packed: bytes = msgpack.packb(ordered, use_bin_type=False, unicode_errors="surrogateescape")
    return packed


def message(kind: int, body: dict[str, Any]) -> bytes:
    """A whole message: type byte and body."""
    return bytes((kind,)) + pack(body)


def unpack(data: bytes) -> dict[str, Any]:
    """A message's body; what follows it is ignored. Raises GossipError."""
    return unpack_from(data)[0]


def unpack_from(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A message's body and what follows it. Raises GossipError."""
    body, rest = _value(data)
    if not isinstance(body, dict):
        raise GossipError("a message's body is not a map")
    return body, rest


def unpack_list(data: bytes) -> list[Any]:
    """A list; what follows it is ignored. Raises GossipError."""
    value, _ = _value(data)
    if not isinstance(value, list):
        raise GossipError("not a list")
    return value


def _value(data: bytes) -> tuple[Any, bytes]:
    unpacker = msgpack.Unpacker(
        raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=max(1, len(data))
    )
    unpacker.feed(data)
    try:
        value = unpacker.unpack()
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise GossipError(f"not a msgpack body: {error or type(error).__name__}") from None
    return value, data[unpacker.tell() :]


def text(body: dict[str, Any], key: str) -> str:
    """A text field; "" when it is missing. Raises GossipError."""
    value = body.get(key)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise GossipError(f"{key} is not text")
    return value


def raw(body: dict[str, Any], key: str) -> bytes:
    """A field of bytes; empty when it is missing. Raises GossipError."""
    value = body.get(key)
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list) and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return bytes(value)
    if not isinstance(value, bytes):
        raise GossipError(f"{key} is not bytes")
    return value


def number(body: dict[str, Any], key: str, limit: int = 1 << 64) -> int:
    """A number from 0 up to `limit`; 0 when it is missing. Raises GossipError."""
    value = body.get(key)
    if value is None:
        return 0
    if not isinstance(value, int) or not 0 <= value < limit:
        raise GossipError(f"{key} is not a number in range")
    return int(value)


def ltime(body: dict[str, Any], key: str = "LTime") -> int:
    """A Lamport time. Raises GossipError for those that no clock can have reached."""
    return number(body, key, MOST_LTIME)


def witnessed(clock: int, seen: int) -> int:
    """A Lamport clock that has seen somebody's time."""
    return seen + 1 if clock <= seen < MOST_WITNESSED else clock


def split_packet(packet: bytes) -> list[tuple[int, bytes]]:
    """The single messages of a packet: type and body each. Raises GossipError."""
    if len(packet) >= 5 and packet[0] == CRC:
        (checksum,) = struct.unpack_from(">I", packet, 1)
        packet = packet[5:]
        if zlib.crc32(packet) != checksum:
            raise GossipError("wrong CRC")
    found: list[tuple[int, bytes]] = []
    _split(packet, found, 0)
    return found


def _split(data: bytes, found: list[tuple[int, bytes]], depth: int) -> None:
    if not data:
        raise GossipError("an empty message")
    if depth > _MAX_LAYERS:
        raise GossipError("too many layers")
    kind, body = data[0], data[1:]
    if kind == COMPOUND:
        for part in _compound_parts(body):
            _split(part, found, depth + 1)
    elif kind == COMPRESSED:
        _split(decompress(body), found, depth + 1)
    elif kind in (PING, INDIRECT_PING, ACK, SUSPECT, ALIVE, DEAD, USER, NACK):
        found.append((kind, body))
    else:
        raise GossipError(f"unknown message type {kind}")


def _compound_parts(body: bytes) -> list[bytes]:
    if not body:
        raise GossipError("an empty compound")
    count = body[0]
    start = 1 + 2 * count
    if len(body) < start:
        raise GossipError("a compound is cut short")
    parts = []
    for length in struct.unpack_from(f">{count}H", body, 1):
        if start + length > len(body):
            break
        if length:
            parts.append(body[start : start + length])
        start += length
    return parts


def join_messages(messages: list[bytes]) -> list[bytes]:
    """Packets that carry these messages: one as it is, several as compounds of at most 255."""
    if len(messages) == 1:
        return list(messages)
    packets = []
    for start in range(0, len(messages), 255):
        part = messages[start : start + 255]
        head = struct.pack(f">BB{len(part)}H", COMPOUND, len(part), *map(len, part))
        packets.append(head + b"".join(part))
    return packets


def with_crc(packet: bytes) -> bytes:
    """A packet behind its CRC."""
    return struct.pack(">BI", CRC, zlib.crc32(packet)) + packet


def decompress(body: bytes) -> bytes:
    """The contents of a compressed message. Raises GossipError."""
    fields = unpack(body)
    if number(fields, "Algo") != 0:
        raise GossipError("unknown compression")
    return lzw_decode(raw(fields, "Buf"))


def lzw_decode(data: bytes) -> bytes:
    """LZW as in GIF: least significant bit first, 8-bit literals, codes of 9 to 12 bits. Raises GossipError."""
    clear, end = 256, 257
    table: list[bytes] = []
    output = bytearray()
    bits = held = 0
    width, highest = 9, end
    previous = b""
    base = [bytes((value,)) for value in range(256)] + [b"", b""]
    for byte in data:
        bits |= byte << held
        held += 8
        while held >= width:
            code = bits & ((1 << width) - 1)
            bits >>= width
            held -= width
            if code == end:
                return bytes(output)
            if code == clear:
                table = list(base)
                width, highest, previous = 9, end, b""
                continue
            if not table:
                table = list(base)
            if code < len(table):
                entry = table[code]
            elif code == len(table) and previous:
                entry = previous + previous[:1]
            else:
                raise GossipError("LZW: invalid code")
            output += entry
            if len(output) > MAX_DECOMPRESSED:
                raise GossipError("LZW: too much data")
            if previous and len(table) < 4096:
                table.append(previous + entry[:1])
            previous = entry
            highest += 1
            if highest >= 1 << width and width < 12:
                width += 1
    raise GossipError("LZW: no end code")
