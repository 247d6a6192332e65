"""Who calls a service and whom it calls: from proxies' upstreams, gateways and intentions. Pure.

A service with a transparent proxy may call whatever intentions let it, so for it every service is looked at; any
other calls only what its proxies register.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mesh.intentions import WILDCARD, matching
from model.structs.catalog_rpc import IntentionDecisionSummary
from model.structs.intentions import Intention

REGISTRATION = "proxy-registration"
DEFAULT_ALLOW = "default-allow"
WILDCARD_INTENTION = "wildcard-intention"
SPECIFIC_INTENTION = "specific-intention"


class Mesh(NamedTuple):
    """What the catalog says about calls.

    `services` are the plain services, `transparent` those of them with a transparent proxy; `calls` has, for each
    service or ingress gateway, the services that are registered as called by it. `intentions` are in order.
    """

    services: Sequence[str]
    transparent: frozenset[str]
    calls: Mapping[str, frozenset[str]]
    intentions: Sequence[Intention]
    default_allow: bool


class Edges(NamedTuple):
    """The other ends of calls by name: why each is listed, and what intentions decide."""

    sources: dict[str, str]
    decisions: dict[str, IntentionDecisionSummary]


def summary(mesh: Mesh, source: str, destination: str) -> IntentionDecisionSummary:
    """What intentions decide about calls from `source` to `destination`."""
    intention = matching(mesh.intentions, source, destination)
    if intention is None:
        return IntentionDecisionSummary(allowed=mesh.default_allow, default_allow=mesh.default_allow)
    return IntentionDecisionSummary(
        allowed=intention.action == "allow" and not intention.permissions,
        has_permissions=bool(intention.permissions),
        external_source=(intention.meta or {}).get("external-source", ""),
        has_exact=WILDCARD not in (intention.source_name, intention.destination_name),
        default_allow=mesh.default_allow,
    )


def upstreams(mesh: Mesh, name: str) -> Edges:
    """What a service or an ingress gateway calls."""
    others = mesh.services if name in mesh.transparent else ()
    return _edges(mesh, [(name, other) for other in {*mesh.calls.get(name, ()), *others}], end=1)


def downstreams(mesh: Mesh, name: str) -> Edges:
    """What calls a service."""
    callers = {caller for caller, called in mesh.calls.items() if name in called}
    return _edges(mesh, [(other, name) for other in {*callers, *mesh.transparent}], end=0)


def _edges(mesh: Mesh, pairs: Iterable[tuple[str, str]], end: int) -> Edges:
    found = Edges({}, {})
    for pair in sorted(pairs):
        source, destination = pair
        if source == destination:
            continue
        decision = summary(mesh, source, destination)
        if destination in mesh.calls.get(source, ()):
            why = REGISTRATION
        elif not (decision.allowed or decision.has_permissions):
            continue
        else:
            why = _why(mesh, source, destination, decision)
        found.sources[pair[end]] = why
        found.decisions[pair[end]] = decision
    return found


def _why(mesh: Mesh, source: str, destination: str, decision: IntentionDecisionSummary) -> str:
    if decision.has_exact:
        return SPECIFIC_INTENTION
    return WILDCARD_INTENTION if matching(mesh.intentions, source, destination) else DEFAULT_ALLOW
