"""Calls on a stream: two msgpack values each way, header and body, nothing between.

    request   {Seq, ServiceMethod}  arguments
    answer    {Error, Seq, ServiceMethod}  reply, or {} after an error
"""

from typing import Any

import msgpack

from model.codec import Wire, WireError, from_wire, pack_builtins, to_wire

MAX_MESSAGE = 64 << 20


class ValueReader:
    """Cuts a stream of bytes into msgpack values."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._held = 0
        self._unpacker = self._new()

    def _new(self) -> Any:
        return msgpack.Unpacker(
            raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=self._limit
        )

    def feed(self, data: bytes) -> None:
        """Add bytes. Raises WireError beyond the limit."""
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            raise WireError(f"a message is larger than {self._limit} bytes") from None

    def next(self) -> Any:
        """The next whole value; raises `msgpack.OutOfData` when more bytes are needed, WireError for rubbish."""
        try:
            return self._unpacker.unpack()
        except msgpack.OutOfData:
            raise
        except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
            raise WireError(f"not a msgpack value: {error or type(error).__name__}") from None


OutOfData = msgpack.OutOfData


def encode_body(value: Any) -> bytes:
    """An argument or reply."""
    if isinstance(value, Wire):
        return pack_builtins(to_wire(value))
    if isinstance(value, list):
        return pack_builtins([to_wire(item) if isinstance(item, Wire) else item for item in value])
    return pack_builtins(value)


def encode_request(sequence: int, method: str, args: Wire) -> bytes:
    """A call."""
    return pack_builtins({"Seq": sequence, "ServiceMethod": method}) + encode_body(args)


def encode_answer(sequence: int, method: str, error: str, reply: Any) -> bytes:
    """An answer; after an error the reply is an empty map."""
    header = pack_builtins({"Error": error, "Seq": sequence, "ServiceMethod": method})
    return header + (b"\x80" if error else encode_body(reply))


def decode_reply(kind: Any, value: Any) -> Any:
    """A reply of the type that `model.methods` names. Raises WireError."""
    if isinstance(kind, type) and issubclass(kind, Wire):
        return from_wire(kind, value)
    origin = getattr(kind, "__origin__", None)
    if origin is list:
        element = kind.__args__[0]
        if value is None:
            return []
        if not isinstance(value, list):
            raise WireError("the reply is not a list")
        return [from_wire(element, item) if issubclass(element, Wire) else item for item in value]
    if kind in (str, bool) and value is not None and not isinstance(value, kind):
        raise WireError(f"the reply is not a {kind.__name__}")
    return value
