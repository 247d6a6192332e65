"""Who calls whom, as the UI draws it."""

from mesh import topology
from mesh.topology import Mesh
from model.structs.intentions import Intention, IntentionPermission

PLAIN = Mesh(
    services=("api", "db", "web"),
    transparent=frozenset(("api",)),
    calls={"web": frozenset(("api",)), "api": frozenset(("db",)), "igw": frozenset(("web",))},
    intentions=(),
    default_allow=True,
)


def intention(source: str, destination: str, action: str = "allow", **fields: object) -> Intention:
    return Intention(source_name=source, destination_name=destination, action=action, **fields)  # type: ignore[arg-type]


def test_a_plain_service_calls_what_it_registers() -> None:
    assert topology.upstreams(PLAIN, "web").sources == {"api": "proxy-registration"}
    assert topology.upstreams(PLAIN, "db").sources == {}
    assert topology.upstreams(PLAIN, "unknown").sources == {}


def test_a_transparent_proxy_reaches_all_that_is_allowed() -> None:
    assert topology.upstreams(PLAIN, "api").sources == {"db": "proxy-registration", "web": "default-allow"}
    denied = PLAIN._replace(intentions=(intention("*", "*", "deny"),))
    assert topology.upstreams(denied, "api").sources == {"db": "proxy-registration"}
    some = PLAIN._replace(default_allow=False, intentions=(intention("api", "web"), intention("*", "db")), calls={})
    assert topology.upstreams(some, "api").sources == {"web": "specific-intention", "db": "wildcard-intention"}


def test_callers_are_those_that_register_and_transparent_ones() -> None:
    found = topology.downstreams(PLAIN, "web")
    assert found.sources == {"api": "default-allow", "igw": "proxy-registration"}
    assert topology.downstreams(PLAIN, "api").sources == {"web": "proxy-registration"}


def test_decisions_say_why() -> None:
    permissions = [IntentionPermission(action="allow")]
    mesh = PLAIN._replace(
        intentions=(
            intention("web", "api", "", permissions=permissions, meta={"external-source": "k8s"}),
            intention("*", "*", "deny"),
        )
    )
    decision = topology.upstreams(mesh, "web").decisions["api"]
    assert (decision.allowed, decision.has_permissions, decision.has_exact) == (False, True, True)
    assert decision.external_source == "k8s"
    decision = topology.upstreams(mesh, "api").decisions["db"]
    assert (decision.allowed, decision.has_permissions, decision.has_exact) == (False, False, False)
