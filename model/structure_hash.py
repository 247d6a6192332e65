"""Hashes of Go values, as the library hashstructure makes them: Consul shows such hashes to its clients.

FNV-1 of 64 bits of each name and value; what has an order (a field's name and its value, the items of a list) is
hashed pairwise in that order, what has none (fields, pairs of a map) is combined by exclusive or. A value is given as
its JSON form, and a hasher that is put together here says of what Go type it is. Pure.
"""

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_MASK = (1 << 64) - 1

Hasher = Callable[[Any], int]
"""Hashes one value of JSON, None for one that is left out, as a Go value of some type."""


@lru_cache(maxsize=4096)
def _fnv(data: bytes) -> int:
    found = _OFFSET
    for byte in data:
        found = (found * _PRIME & _MASK) ^ byte
    return found


def _pair(first: int, second: int) -> int:
    return _fnv(struct.pack("<QQ", first, second))


def _number(value: float) -> int:
    try:
        return _fnv(struct.pack("<d", float(value)))
    except OverflowError:
        # Not a number of Go's; any hash will do, as long as it is always the same.
        return text(str(value))


def text(value: Any) -> int:
    """A string."""
    return _fnv((value or "").encode(errors="surrogatepass"))


def whole(value: Any) -> int:
    """An int or uint."""
    return _fnv(struct.pack("<Q", (value or 0) & _MASK))


def truth(value: Any) -> int:
    """A bool."""
    return _fnv(b"\1" if value else b"\0")


def anything(value: Any) -> int:
    """A value of a free-form map. Its numbers are floats, as of all JSON in Go; null is the number zero."""
    match value:
        case None:
            return whole(0)
        case bool():
            return truth(value)
        case int() | float():
            return _number(value)
        case str():
            return text(value)
        case Mapping():
            return map_of(anything)(value)
        case _:
            return list_of(anything)(value)


def list_of(item: Hasher) -> Hasher:
    """A slice."""

    def hashed(value: Any) -> int:
        found = 0
        for one in value or ():
            found = _pair(found, item(one))
        return found

    return hashed


def map_of(item: Hasher) -> Hasher:
    """A map from strings."""

    def hashed(value: Any) -> int:
        found = 0
        for key, one in (value or {}).items():
            found ^= _pair(text(key), item(one))
        return found

    return hashed


def struct_of(name: str, fields: Mapping[str, Hasher]) -> Hasher:
    """A struct; its type's name is "" if it has none."""

    def hashed(value: Any) -> int:
        found = text(name)
        for field, hasher in fields.items():
            found ^= _pair(text(field), hasher((value or {}).get(field)))
        return found

    return hashed


def pointer_to(target: Hasher) -> Hasher:
    """A pointer: nil, which JSON leaves out, is the number zero."""
    return lambda value: whole(0) if value is None else target(value)
