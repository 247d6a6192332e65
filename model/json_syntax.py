"""What is wrong with a text that is no JSON, as Go's decoder says it. Pure.

The parser proper is msgspec's, whose reasons are its own; this scans a refused text once more, the way that Go's
scanner is known to: one byte after the other, with what it expects there.
"""

_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"


class _Problem(Exception):
    """The text ends too early (`place` is None), or a byte does not fit where it stands."""

    def __init__(self, place: int | None, where: str = "") -> None:
        super().__init__(where)
        self.place = place
        self.where = where


def syntax_error(raw: bytes) -> str:
    """Go's text for a body that is no JSON; "" when its first value is well formed."""
    if not raw.strip(_SPACE):
        return "EOF"
    try:
        _scan(raw)
    except _Problem as problem:
        if problem.place is None:
            return "unexpected EOF"
        return f"invalid character {quoted(raw[problem.place])} {problem.where}"
    return ""


def quoted(byte: int) -> str:
    """A byte as Go's errors show it."""
    simple = {39: "\\'", 34: '"', 92: "\\\\", 7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
    if byte in simple:
        return f"'{simple[byte]}'"
    character = chr(byte)
    if character.isprintable():
        return f"'{character}'"
    return f"'\\x{byte:02x}'" if byte < 128 else f"'\\u{byte:04x}'"


def _scan(raw: bytes) -> None:
    """Go through the first value. An explicit stack of open brackets stands for recursion: depth costs nothing."""
    open_brackets: list[int] = []
    at = _space(raw, 0)
    while True:
        opened = raw[at] if at < len(raw) else None
        if opened in (ord("{"), ord("[")):
            closing = ord("}") if opened == ord("{") else ord("]")
            at = _space(raw, at + 1)
            if _byte(raw, at) != closing:
                open_brackets.append(closing)
                at = _key(raw, at) if closing == ord("}") else at
                continue
            at += 1
        else:
            at = _simple(raw, at)
        while open_brackets:
            at = _space(raw, at)
            closing = open_brackets[-1]
            found = _byte(raw, at)
            if found == ord(","):
                at = _space(raw, at + 1)
                at = _key(raw, at) if closing == ord("}") else at
                break
            if found != closing:
                raise _Problem(at, "after object key:value pair" if closing == ord("}") else "after array element")
            open_brackets.pop()
            at += 1
        else:
            return


def _byte(raw: bytes, at: int) -> int:
    if at >= len(raw):
        raise _Problem(None)
    return raw[at]


def _space(raw: bytes, at: int) -> int:
    while at < len(raw) and raw[at] in _SPACE:
        at += 1
    return at


def _key(raw: bytes, at: int) -> int:
    """Past a key, its colon, and the space after it."""
    if _byte(raw, at) != ord('"'):
        raise _Problem(at, _KEY)
    at = _space(raw, _string(raw, at + 1))
    if _byte(raw, at) != ord(":"):
        raise _Problem(at, "after object key")
    return _space(raw, at + 1)


def _simple(raw: bytes, at: int) -> int:
    """Past a value that is no object or array."""
    first = _byte(raw, at)
    if first == ord('"'):
        return _string(raw, at + 1)
    if first in _LITERALS:
        return _literal(raw, at, _LITERALS[first])
    if first == ord("-") or first in _DIGITS:
        return _number(raw, at)
    raise _Problem(at, _VALUE)


def _literal(raw: bytes, at: int, word: bytes) -> int:
    for offset, wanted in enumerate(word):
        if _byte(raw, at + offset) != wanted:
            raise _Problem(at + offset, f"in literal {word.decode()} (expecting '{chr(wanted)}')")
    return at + len(word)


def _string(raw: bytes, at: int) -> int:
    while True:
        byte = _byte(raw, at)
        if byte == ord('"'):
            return at + 1
        if byte < 32:
            raise _Problem(at, "in string literal")
        at += 1
        if byte != ord("\\"):
            continue
        escape = _byte(raw, at)
        if escape == ord("u"):
            for place in range(at + 1, at + 5):
                if _byte(raw, place) not in _HEX:
                    raise _Problem(place, "in \\u hexadecimal character escape")
            at += 4
        elif escape not in b'bfnrt\\/"':
            raise _Problem(at, "in string escape code")
        at += 1


def _digits(raw: bytes, at: int, where: str) -> int:
    if _byte(raw, at) not in _DIGITS:
        raise _Problem(at, where)
    while at < len(raw) and raw[at] in _DIGITS:
        at += 1
    return at


def _number(raw: bytes, at: int) -> int:
    if raw[at] == ord("-"):
        at += 1
    if _byte(raw, at) == ord("0"):
        at += 1
    else:
        at = _digits(raw, at, "in numeric literal")
    if at < len(raw) and raw[at] == ord("."):
        at = _digits(raw, at + 1, "after decimal point in numeric literal")
    if at < len(raw) and raw[at] in b"eE":
        at += 1
        if at < len(raw) and raw[at] in b"+-":
            at += 1
        at = _digits(raw, at, "in exponent of numeric literal")
    return at
