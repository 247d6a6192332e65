"""Templates of prepared queries: the `${…}` in their fields, and what a name fills in.

Source: the public description of prepared query templates: `${name.full}`, `${name.prefix}`, `${name.suffix}`,
`${match(N)}` for the groups of the template's regular expression, `${agent.segment}`; `$${` stands for a plain `${`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from model import hil
from model.errors import RpcError
from model.goregexp import Regexp, RegexpError, compile_regexp
from model.structs.queries import PreparedQuery, ServiceQuery

PREFIX_MATCH = "name_prefix_match"
MAX_KEPT = 512
"""Characters of a text up to which its pieces are kept, so that what is kept is bounded."""
MAX_FILLED = 64 << 10
"""Characters that a text may have once its variables are filled in."""
_VARIABLES = ("name.full", "name.prefix", "name.suffix", "agent.segment")


class Names(NamedTuple):
    """What the variables of a template stand for."""

    full: str
    prefix: str
    segment: str
    groups: tuple[str, ...]

    def value(self, variable: str) -> str:
        """The value of a variable."""
        if variable == "agent.segment":
            return self.segment
        return {"full": self.full, "prefix": self.prefix}.get(
            variable.removeprefix("name."), self.full[len(self.prefix) :]
        )

    def group(self, number: int) -> str:
        """A group of the match; "" when there is none."""
        return self.groups[number] if 0 <= number < len(self.groups) else ""


Piece = Callable[[Names], str]


def _parse(text: str, where: str) -> tuple[Piece, ...]:
    """The pieces of a text; raises RpcError naming the field `where`. Those of texts of usual length are kept."""
    return _parse_kept(text, where) if len(text) <= MAX_KEPT else _parse_now(text, where)


@functools.lru_cache(maxsize=4096)
def _parse_kept(text: str, where: str) -> tuple[Piece, ...]:
    return _parse_now(text, where)


def _parse_now(text: str, where: str) -> tuple[Piece, ...]:
    try:
        found = hil.pieces(text)
    except hil.HilError as error:
        raise RpcError(f"Bad format '{text}' in {where}: {error}") from None
    return tuple(_literal(one.text) if isinstance(one, hil.Literal) else _variable(text, one, where) for one in found)


def _literal(text: str) -> Piece:
    return lambda names: text


def _variable(text: str, one: hil.Expression, where: str) -> Piece:
    problem = f"Bad evaluation for '{text}' in {where}: 1:{one.column}"
    name = one.name
    if one.is_call:
        if name != "match":
            raise RpcError(f"{problem}: unknown function called: {name}")
        if one.argument is None:
            raise RpcError(f"{problem}: match: argument 1 is missing")
        number = one.argument
        return lambda names: names.group(number)
    if name not in _VARIABLES:
        raise RpcError(f"{problem}: unknown variable accessed: {name}")
    return lambda names: names.value(name)


def _regexp(pattern: str) -> Regexp:
    try:
        return compile_regexp(pattern)
    except RegexpError as error:
        raise RpcError(f"Bad Regexp: {error}") from None


def check(query: PreparedQuery) -> None:
    """Raise RpcError unless the template of a query can be rendered."""
    try:
        if query.template.type != PREFIX_MATCH:
            raise RpcError(f"Bad Template.Type '{query.template.type}'")
        if query.template.regexp:
            _regexp(query.template.regexp)
        _map_texts(query.service, "Service", lambda text, where: text if _parse(text, where) else "")
    except RpcError as error:
        raise RpcError(f"failed compiling template: {error.text}") from None


def _filled(pieces: tuple[Piece, ...], names: Names, where: str) -> str:
    """The text that pieces become; raises RpcError when it would be very long: a name can stand in it many times."""
    parts = []
    left = MAX_FILLED
    for piece in pieces:
        parts.append(piece(names))
        left -= len(parts[-1])
        if left < 0:
            raise RpcError(f"failed rendering template: {where} would be longer than {MAX_FILLED} characters")
    return "".join(parts)


def render(query: PreparedQuery, name: str, segment: str) -> PreparedQuery:
    """The query that a template becomes for a name. Raises RpcError."""
    groups: tuple[str, ...] = ()
    if query.template.regexp:
        groups = _regexp(query.template.regexp).groups(name)
    names = Names(name, name[: len(query.name)], segment, groups)
    service = _map_texts(query.service, "Service", lambda text, where: _filled(_parse(text, where), names, where))
    if query.template.remove_empty_tags and service.tags is not None:
        service = msgspec.structs.replace(service, tags=[tag for tag in service.tags if tag])
    return msgspec.structs.replace(query, service=service)


def _map_texts(service: ServiceQuery, where: str, change: Callable[[str, str], str]) -> ServiceQuery:
    """The question with all its texts changed."""

    def of_list(texts: list[str] | None, field: str) -> list[str] | None:
        if texts is None:
            return None
        return [change(text, f"{where}.{field}[{position}]") for position, text in enumerate(texts)]

    def of_map(texts: dict[str, str] | None, field: str) -> dict[str, str] | None:
        if texts is None:
            return None
        return {key: change(text, f"{where}.{field}[{key}]") for key, text in texts.items()}

    failover = service.failover
    targets = failover.targets
    if targets is not None:
        targets = [
            msgspec.structs.replace(
                target,
                datacenter=change(target.datacenter, f"{where}.Failover.Targets[{position}].Datacenter"),
                peer=change(target.peer, f"{where}.Failover.Targets[{position}].Peer"),
            )
            for position, target in enumerate(targets)
        ]
    return msgspec.structs.replace(
        service,
        service=change(service.service, f"{where}.Service"),
        near=change(service.near, f"{where}.Near"),
        peer=change(service.peer, f"{where}.Peer"),
        tags=of_list(service.tags, "Tags"),
        ignore_check_ids=of_list(service.ignore_check_ids, "IgnoreCheckIDs"),
        node_meta=of_map(service.node_meta, "NodeMeta"),
        service_meta=of_map(service.service_meta, "ServiceMeta"),
        failover=msgspec.structs.replace(
            failover, datacenters=of_list(failover.datacenters, "Failover.Datacenters"), targets=targets
        ),
    )
