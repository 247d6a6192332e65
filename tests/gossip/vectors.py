"""The recorded bytes of real members, and a writer of the compression that they use."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.tools import need_shared


@cache
def _loaded(path: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(path).read_text())
    return loaded


def vectors(part: str) -> dict[str, Any]:
    """One part of the vectors: memberlist, serf, coordinates or consul. Skips the test where they are not."""
    found: dict[str, Any] = _loaded(str(need_shared("protocols/gossip-vectors.json")))[part]
    return found


def lzw_encode(data: bytes) -> bytes:
    """LZW as memberlist writes it; for tests of the reader only."""
    clear, end = 256, 257
    out, bits, held = bytearray(), 0, 0
    width, highest = 9, end
    table: dict[bytes, int] = {}

    def put(code: int) -> None:
        nonlocal bits, held
        bits |= code << held
        held += width
        while held >= 8:
            out.append(bits & 255)
            bits >>= 8
            held -= 8

    def count() -> bool:
        """A code was written; whether the table has to begin anew."""
        nonlocal width, highest
        highest += 1
        if highest == 1 << width:
            width += 1
        if highest < 4095:
            return False
        width = 12
        put(clear)
        table.clear()
        width, highest = 9, end
        return True

    put(clear)
    current = b""
    for value in data:
        longer = current + bytes((value,))
        if len(longer) == 1 or longer in table:
            current = longer
            continue
        put(table[current] if len(current) > 1 else current[0])
        if not count():
            table[longer] = highest
        current = longer[-1:]
    if current:
        put(table[current] if len(current) > 1 else current[0])
        count()
    put(end)
    if held:
        out.append(bits & 255)
    return bytes(out)
