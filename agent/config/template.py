"""Templates for addresses, in the language of go-sockaddr: `{{ GetPrivateInterfaces | attr "address" }}`.

A text is literal but for its pieces in double braces. Such a piece is a pipeline: functions with arguments, each of
which is handed the result of the one before as its last argument. The list of addresses to choose from is handed in, so
nothing here asks the host. Control structures of Go's templates (`range`, `with`, `if`) are refused.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.config.interfaces import InterfaceAddress
from agent.config.rfcs import RFCS, within
from model.goregexp import RegexpError, compile_regexp

MAX_TEMPLATE = 4096
"""Characters that a text with templates may have."""
MAX_DEPTH = 8

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:(?P<text>"(?:[^"\\\n]|\\.)*")|(?P<raw>`[^`]*`)|(?P<number>[+-]?\d+)(?![\w.])
    |(?P<name>[A-Za-z_]\w*)|(?P<sign>[|().]))""",
    re.VERBOSE,
)
_CONTROL = frozenset(("range", "with", "if", "else", "end", "define", "template", "block", "break", "continue"))
_TYPES = {"ip": (4, 6), "ipv4": (4,), "ipv6": (6,), "unix": ()}


class TemplateError(ValueError):
    """A template that cannot be evaluated; the text says why."""


class _Token(NamedTuple):
    kind: str
    value: Any


Addresses = list[InterfaceAddress]


def is_template(text: str) -> bool:
    """Whether a text has a piece in double braces."""
    return "{{" in text


def render(text: str, interfaces: Sequence[InterfaceAddress]) -> str:
    """The text with each template replaced by its result. Raises TemplateError."""
    if len(text) > MAX_TEMPLATE:
        raise TemplateError(f"the template has {len(text)} characters, {MAX_TEMPLATE} at most")
    result, at = "", 0
    while (begin := text.find("{{", at)) >= 0:
        result += text[at:begin]
        end = _closing(text, begin + 2)
        piece = text[begin + 2 : end]
        at = end + 2
        if piece.startswith("-") and piece[1:2].isspace():
            piece, result = piece[1:], result.rstrip()
        if piece.endswith("-") and piece[-2:-1].isspace():
            piece = piece[:-1]
            at += len(text[at:]) - len(text[at:].lstrip())
        if piece.strip().startswith("/*") and piece.strip().endswith("*/"):
            continue
        result += _shown(_Pipeline(_tokens(piece), interfaces).whole())
    return result + text[at:]


def _closing(text: str, at: int) -> int:
    """Where the braces close, outside of quotes."""
    quote = ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\" and quote == '"':
                at += 1
            elif character == quote:
                quote = ""
        elif character in '"`':
            quote = character
        elif text.startswith("}}", at):
            return at
        at += 1
    raise TemplateError("unclosed template: {{ without }}")


def _tokens(piece: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(piece.rstrip()):
        match = _TOKEN.match(piece, at)
        if match is None:
            raise TemplateError(f"unexpected {piece[at:].strip()[:20]!r} in template")
        at = match.end()
        kind = str(match.lastgroup)
        word = match.group(kind)
        if kind == "text":
            word = re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), word[1:-1])
        elif kind == "raw":
            kind, word = "text", word[1:-1]
        tokens.append(_Token(kind, int(word) if kind == "number" else word))
    return tokens


def _shown(value: Any) -> str:
    if isinstance(value, list):
        raise TemplateError('the template gives a list of addresses: end it with attr "address" or join "address" " "')
    return str(value)


class _Pipeline:
    """Evaluates the tokens of a template."""

    def __init__(self, tokens: list[_Token], interfaces: Sequence[InterfaceAddress]) -> None:
        self._tokens = tokens
        self._interfaces = interfaces
        self._at = 0

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def whole(self) -> Any:
        """The value of all tokens."""
        if not self._tokens:
            raise TemplateError("missing value: the template is empty")
        value = self._pipeline(0)
        if (left := self._peek()) is not None:
            raise TemplateError(f"unexpected {left.value!r} in template")
        return value

    def _pipeline(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise TemplateError("the template is nested too deeply")
        value = self._command(depth, ())
        while (token := self._peek()) is not None and token.value == "|" and token.kind == "sign":
            self._at += 1
            value = self._command(depth, (value,))
        return value

    def _command(self, depth: int, piped: tuple[Any, ...]) -> Any:
        token = self._peek()
        if token is None or (token.kind == "sign" and token.value in ("|", ")")):
            raise TemplateError("missing value: a function is expected in the template")
        if token.kind != "name":
            if piped:
                raise TemplateError(f"{token.value!r} is no function that a value could be handed to")
            return self._argument(depth)
        name = token.value
        self._at += 1
        if name in _CONTROL:
            raise TemplateError(f'"{name}" is not supported in templates for addresses')
        if name not in FUNCTIONS:
            raise TemplateError(f'function "{name}" not defined')
        arguments = []
        while (ahead := self._peek()) is not None and not (ahead.kind == "sign" and ahead.value in ("|", ")")):
            arguments.append(self._argument(depth))
        return call(name, [*arguments, *piped], self._interfaces)

    def _argument(self, depth: int) -> Any:
        token = self._peek()
        assert token is not None
        self._at += 1
        if token.kind in ("text", "number"):
            return token.value
        if token.kind == "name":
            self._at -= 1
            name = token.value
            if name not in FUNCTIONS:
                raise TemplateError(f'function "{name}" not defined')
            self._at += 1
            return call(name, [], self._interfaces)
        if token.value == ".":
            return list(self._interfaces)
        if token.value == "(":
            value = self._pipeline(depth + 1)
            closing = self._peek()
            if closing is None or closing.value != ")":
                raise TemplateError("unclosed ( in template")
            self._at += 1
            return value
        raise TemplateError(f"unexpected {token.value!r} in template")


# Functions


def call(name: str, arguments: list[Any], interfaces: Sequence[InterfaceAddress]) -> Any:
    """Call a function of the template language. Raises TemplateError."""
    kinds, function, asks_host = FUNCTIONS[name]
    if len(arguments) != len(kinds):
        raise TemplateError(f"wrong number of args for {name}: want {len(kinds)} got {len(arguments)}")
    given = []
    for kind, value in zip(kinds, arguments, strict=True):
        if kind is int and isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}", value):
            value = int(value)
        if isinstance(value, InterfaceAddress) and kind is list:
            value = [value]
        if not isinstance(value, kind):
            wanted = {str: "a text", int: "a number", list: "a list of addresses"}[kind]
            raise TemplateError(f"{name}: expected {wanted}, got {_named(value)}")
        given.append(value)
    return function(*given, interfaces) if asks_host else function(*given)


def _named(value: Any) -> str:
    return "a list of addresses" if isinstance(value, list) else repr(value)


def _privates(interfaces: Sequence[InterfaceAddress]) -> Addresses:
    return sort("type,size", [one for one in interfaces if one.private])


def _publics(interfaces: Sequence[InterfaceAddress]) -> Addresses:
    return sort("type,size", [one for one in interfaces if one.public])


def _first_text(found: Addresses) -> str:
    return str(found[0].ip) if found else ""


def _all_texts(found: Addresses) -> str:
    return " ".join(str(one.ip) for one in found)


def _of_interface(name: str, interfaces: Sequence[InterfaceAddress]) -> Addresses:
    return sort("type,size", [one for one in interfaces if one.name == name and "forwardable" in one.flags])


_SORTS: dict[str, Callable[[InterfaceAddress], Any]] = {
    "address": lambda one: (one.ip.version, int(one.ip)),
    "default": lambda one: not one.default,
    "name": lambda one: one.name,
    "port": lambda one: 0,
    "private": lambda one: not one.private,
    "size": lambda one: -one.at.network.num_addresses,
    "type": lambda one: one.ip.version,
}


def sort(criteria: str, found: Addresses) -> Addresses:
    """The list in an order such as "default,-type,address"; what comes first weighs most."""
    result = list(found)
    for word in reversed(criteria.split(",")):
        word = word.strip()
        name = word.removeprefix("+").removeprefix("-")
        if name not in _SORTS:
            raise TemplateError(f'sort: unsupported sort type "{word}"')
        result.sort(key=_SORTS[name], reverse=word.startswith("-"))
    return result


def _selector(kind: str, text: str) -> Callable[[InterfaceAddress], bool]:
    """Whether an address is meant by `include` and `exclude`."""
    kind = kind.lower()
    words = [word.strip() for word in text.split("|")]
    if kind in ("address", "name"):
        try:
            pattern = compile_regexp(text)
        except RegexpError as error:
            raise TemplateError(f'include "{kind}": {error}') from None
        if kind == "name":
            return lambda one: pattern.found_in(one.name)
        return lambda one: pattern.found_in(str(one.ip))
    if kind in ("flag", "flags"):
        wanted = {word.lower() for word in words}
        if strange := sorted(wanted - FLAGS):
            raise TemplateError(f'include "{kind}": unsupported flag "{strange[0]}"')
        return lambda one: wanted <= one.flags
    if kind == "network":
        try:
            networks = tuple(ipaddress.ip_network(word) for word in words)
        except ValueError as error:
            raise TemplateError(f'include "network": {error}') from None
        return lambda one: within(one.ip, networks)
    if kind in ("rfc", "rfcs"):
        if unknown := [word for word in words if not word.isdigit() or int(word) not in RFCS]:
            raise TemplateError(f'include "{kind}": unsupported RFC "{unknown[0]}"')
        return lambda one: any(within(one.ip, RFCS[int(word)]) for word in words)
    if kind == "size":
        if not re.fullmatch(r"/?\d{1,3}", text):
            raise TemplateError(f'include "size": "{text}" is no length of a network mask')
        return lambda one: one.at.network.prefixlen == int(text.lstrip("/"))
    if kind == "type":
        if unknown := [word for word in words if word.lower() not in _TYPES]:
            raise TemplateError(f'include "type": unsupported type "{unknown[0]}"')
        return lambda one: any(one.ip.version in _TYPES[word.lower()] for word in words)
    if kind == "port":
        return lambda one: text == "0"
    raise TemplateError(f'include: unsupported selector "{kind}"')


FLAGS = frozenset(
    (
        *("broadcast", "down", "forwardable", "global unicast", "interface-local multicast", "link-local multicast"),
        *("link-local unicast", "loopback", "multicast", "point-to-point", "unspecified", "up"),
    )
)
"""The flags that `include "flags"` knows."""


def _include(kind: str, text: str, found: Addresses) -> Addresses:
    selected = _selector(kind, text)
    return [one for one in found if selected(one)]


def _exclude(kind: str, text: str, found: Addresses) -> Addresses:
    selected = _selector(kind, text)
    return [one for one in found if not selected(one)]


def _unique(kind: str, found: Addresses) -> Addresses:
    keys: dict[str, Callable[[InterfaceAddress], Any]] = {"address": lambda one: one.ip, "name": lambda one: one.name}
    if kind not in keys:
        raise TemplateError(f'unique: unsupported argument "{kind}": it must be address or name')
    return list({keys[kind](one): one for one in reversed(found)}.values())[::-1]


def _limit(count: int, found: Addresses) -> Addresses:
    if count < 0:
        raise TemplateError("limit: the number must not be negative")
    return found[:count]


def _offset(count: int, found: Addresses) -> Addresses:
    if abs(count) > len(found):
        raise TemplateError(f"offset: unable to seek past the end of {len(found)} addresses")
    return found[count:]


def _math(what: str, text: str, found: Addresses) -> Addresses:
    if what in ("address", "network"):
        if not re.fullmatch(r"[+-]\d{1,40}", text):
            raise TemplateError(f'math "{what}": "{text}" is no number with its sign')
        return [_moved(one, what, int(text)) for one in found]
    if what == "mask":
        if not re.fullmatch(r"\d{1,3}", text):
            raise TemplateError(f'math "mask": "{text}" is no length of a network mask')
        return [_masked(one, int(text)) for one in found]
    raise TemplateError(f'math: unsupported operation "{what}"')


def _moved(one: InterfaceAddress, what: str, by: int) -> InterfaceAddress:
    network = one.at.network
    if what == "address":
        number = int(one.ip) + by
        number %= 1 << one.ip.max_prefixlen
    else:
        begin = network.network_address if by >= 0 else network.broadcast_address
        number = int(network.network_address) + (int(begin) - int(network.network_address) + by) % network.num_addresses
    return one._replace(at=type(one.at)((number, network.prefixlen)))


def _masked(one: InterfaceAddress, bits: int) -> InterfaceAddress:
    if bits > one.ip.max_prefixlen:
        raise TemplateError(f'math "mask": {bits} is longer than an address')
    base = type(one.at)((int(one.ip), bits)).network.network_address
    return one._replace(at=type(one.at)((int(base), min(bits, one.at.network.prefixlen))))


def attribute(name: str, one: InterfaceAddress) -> str:
    """An attribute of an address, as a text."""
    return str(_ATTRIBUTES[name](one))


def _usable(one: InterfaceAddress, last: bool) -> str:
    network = one.at.network
    inner = network.version == 4 and network.num_addresses > 2
    if last:
        return str(network.broadcast_address - (1 if inner else 0))
    return str(network.network_address + (1 if inner else 0))


def _of_version(version: int, value: Callable[[InterfaceAddress], Any]) -> Callable[[InterfaceAddress], Any]:
    return lambda one: value(one) if one.ip.version == version else ""


_ATTRIBUTES: dict[str, Callable[[InterfaceAddress], Any]] = {
    "string": lambda one: one.ip if one.at.network.prefixlen == one.ip.max_prefixlen else one.at,
    "type": lambda one: f"IPv{one.ip.version}",
    "address": lambda one: one.ip,
    "binary": lambda one: f"{int(one.ip):0{one.ip.max_prefixlen}b}",
    "first_usable": lambda one: _usable(one, False),
    "hex": lambda one: one.ip.packed.hex(),
    "host": lambda one: one.ip,
    "last_usable": lambda one: _usable(one, True),
    "mask_bits": lambda one: one.at.network.prefixlen,
    "netmask": lambda one: one.at.netmask,
    "network": lambda one: one.at.network,
    "octets": lambda one: " ".join(str(octet) for octet in one.ip.packed),
    "port": lambda one: 0,
    "size": lambda one: one.at.network.num_addresses,
    "broadcast": _of_version(4, lambda one: one.at.network.broadcast_address),
    "uint32": _of_version(4, lambda one: int(one.ip)),
    "uint128": _of_version(6, lambda one: int(one.ip)),
    "name": lambda one: one.name,
    "flags": lambda one: "|".join(sorted(one.interface_flags)),
}


def _attr(name: str, found: Addresses) -> str:
    if name not in _ATTRIBUTES:
        raise TemplateError(f'attr: unsupported attribute "{name}"')
    return attribute(name, found[0]) if found else ""


def _join(name: str, separator: str, found: Addresses) -> str:
    if name not in _ATTRIBUTES:
        raise TemplateError(f'join: unsupported attribute "{name}"')
    return separator.join(attribute(name, one) for one in found)


FUNCTIONS: dict[str, tuple[tuple[type, ...], Callable[..., Any], bool]] = {
    "GetAllInterfaces": ((), list, True),
    "GetDefaultInterfaces": ((), lambda interfaces: [one for one in interfaces if one.default], True),
    "GetPrivateInterfaces": ((), _privates, True),
    "GetPublicInterfaces": ((), _publics, True),
    "GetPrivateIP": ((), lambda interfaces: _first_text(_privates(interfaces)), True),
    "GetPrivateIPs": ((), lambda interfaces: _all_texts(_privates(interfaces)), True),
    "GetPublicIP": ((), lambda interfaces: _first_text(_publics(interfaces)), True),
    "GetPublicIPs": ((), lambda interfaces: _all_texts(_publics(interfaces)), True),
    "GetInterfaceIP": ((str,), lambda name, interfaces: _first_text(_of_interface(name, interfaces)), True),
    "GetInterfaceIPs": ((str,), lambda name, interfaces: _all_texts(_of_interface(name, interfaces)), True),
    "sort": ((str, list), sort, False),
    "include": ((str, str, list), _include, False),
    "exclude": ((str, str, list), _exclude, False),
    "unique": ((str, list), _unique, False),
    "limit": ((int, list), _limit, False),
    "offset": ((int, list), _offset, False),
    "math": ((str, str, list), _math, False),
    "attr": ((str, list), _attr, False),
    "Attr": ((str, list), _attr, False),
    "join": ((str, str, list), _join, False),
}
"""The functions of templates: the kinds of their arguments (a piped one is the last), what they do, and whether they
are handed the host's addresses besides."""
