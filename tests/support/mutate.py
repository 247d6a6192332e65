"""Inputs made wrong at random, from a seed: bytes flipped and cut, JSON whose values are what nobody expects."""

from __future__ import annotations

import json
import random
from typing import Any

RAW = (
    *(b"1e309", b"-1e309", b"1e-999", b"NaN", b"Infinity", b"-0", b"0x10", b"01", b"18446744073709551615"),
    *(b"18446744073709551616", b"-9223372036854775809", b"1" * 400, b"0." + b"9" * 400, b"1e18", b"1.5"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"\\u0000"', b'"\x00"', b'"a\nb"'),
    *(b'"-1h"', b'"9999999999999h"', b'"1e9s"', b'"10d"', b'"0.0000000000001ns"', b'""', b'"' + b"x" * 70_000 + b'"'),
    *(
        b"null",
        b"true",
        b"false",
        b"{}",
        b"[]",
        b"[null]",
        b"[[]]",
        b"[" * 70 + b"]" * 70,
        b'{"a":' * 70 + b"1" + b"}" * 70,
    ),
    *(b"[" * 20_000, b'{"a":' * 20_000, b'{"a":1,"a":2,"A":3}', b"-1", b"4294967296", b'"\\x41"', b"'a'", b"", b","),
    *(
        b'"${match(99999999999999999999)}"',
        b'"${name.full}${"',
        b'"(a+)+$"',
        b'"..%2f..%2f"',
        b'"\xe2\x80\xae\xc2\x85"',
    ),
    *(b'"*"', b'"127.0.0.1:99999"', b'"[::1"', b'"unix:///"', b'"a.b.c."', b'"' + b"a." * 200 + b'"'),
)
"""What stands in the place of a value, as it is written in JSON."""
_MARK = "\x01here\x01"


def wrong_json(chance: random.Random, body: Any) -> bytes:
    """The JSON of a body with one or two of its parts replaced, or named otherwise."""
    body = json.loads(json.dumps(body))
    replacements = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        places = list(_places(body))
        if not places:
            return chance.choice(RAW)
        holder, key = chance.choice(places)
        if isinstance(holder, dict) and chance.random() < 0.15:
            holder[chance.choice((key.lower(), key.upper(), f"{key}\udcff", key + "\u0130", "", "Namespace"))] = (
                holder.pop(key)
            )
            continue
        holder[key] = f"{_MARK}{len(replacements)}"
        replacements.append(chance.choice(RAW))
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogateescape")
    for number, raw in enumerate(replacements):
        text = text.replace(json.dumps(f"{_MARK}{number}").encode(), raw)
    return text


def _places(value: Any) -> Any:
    """Every place of a value that something else could stand in: what holds it, and where in there."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(item)


def wrong_bytes(chance: random.Random, data: bytes) -> bytes:
    """Bytes with a few changes: flipped, cut off, cut out, repeated, replaced by others."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        way = chance.randrange(6)
        if way == 0:
            changed[at : at + 1] = bytes((chance.randrange(256),))
        elif way == 1 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            del changed[at:]
        elif way == 3:
            del changed[at : at + chance.randrange(8)]
        elif way == 4:
            changed[at:at] = changed[at : at + 32] * chance.randrange(1, 4)
        else:
            changed[at : at + 4] = chance.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(changed)
