"""What a registration must say, and how it is completed before it goes into the log."""

import re

import msgspec

from mesh.service_rules import listed, problems_of
from model.errors import RpcError
from model.structs.catalog import HealthCheck, HealthCheckDefinition, Node, NodeService, Weights
from model.structs.catalog_rpc import RegisterRequest
from server.endpoints.authorizer import Authorizer
from server.state.store import Store

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ANY_ADDRESS = ("0.0.0.0", "::", "[::]")


def check_node_id(node_id: str) -> None:
    """Raise RpcError unless a node's ID is empty or a UUID."""
    if node_id and not _UUID.fullmatch(node_id):
        reason = "uuid string is wrong length" if len(node_id) != 36 else "uuid is improperly formatted"
        raise RpcError(f"Bad node ID: {reason}")


def prepare_registration(args: RegisterRequest, datacenter: str) -> RegisterRequest:
    """The request as it goes into the log. Raises RpcError naming what is missing or wrong."""
    if not args.node:
        raise RpcError("Must provide node")
    if not args.address and not args.skip_node_update:
        raise RpcError("Must provide address if SkipNodeUpdate is not set")
    check_node_id(args.id)
    service = prepare_service(args.service) if args.service is not None else None
    checks = [*(args.checks or ()), *([args.check] if args.check is not None else ())]
    prepared = [prepare_check(check, args.node) for check in checks]
    return msgspec.structs.replace(
        args,
        service=service,
        check=None,
        checks=prepared or None,
        datacenter=args.datacenter or datacenter,
        token="",
    )


def changes_node(known: Node | None, request: RegisterRequest) -> bool:
    """Whether a registration makes a node, or changes what is known of it."""
    if known is None:
        return True
    if request.skip_node_update:
        return False
    return (known.id, known.node, known.address, known.tagged_addresses or {}, known.meta or {}) != (
        request.id,
        request.node,
        request.address,
        request.tagged_addresses or {},
        request.node_meta or {},
    )


def require_known_check(store: Store, node: str, check_id: str, authz: Authorizer) -> None:
    """Raise RpcError unless a token may write the check that has an ID now, whatever is to take its place."""
    known = store.catalog.check(node, check_id)
    if known is None:
        return
    if known.service_name:
        authz.require("service", "write", known.service_name)
    else:
        authz.require("node", "write", known.node)


def prepare_service(service: NodeService) -> NodeService:
    """A service as it is stored: with an ID and weights. Raises RpcError naming what is missing."""
    if not service.id and service.service:
        service = msgspec.structs.replace(service, id=service.service)
    if service.id and not service.service:
        raise RpcError("Must provide service name (Service.Service) when service ID is provided")
    if service.address in _ANY_ADDRESS:
        raise RpcError("Invalid service address")
    problems = problems_of(service)
    if problems:
        raise RpcError(listed(problems))
    weights = service.weights
    if weights is None or weights.passing < 1 or weights.warning < 0:
        weights = Weights(passing=1, warning=1)
    return msgspec.structs.replace(service, weights=weights)


def prepare_check(check: HealthCheck, node: str) -> HealthCheck:
    """A check as it is stored: with an ID, its node and its type."""
    return msgspec.structs.replace(
        check,
        check_id=check.check_id or check.name,
        node=check.node or node,
        type=check.type or type_of(check.definition),
    )


def type_of(definition: HealthCheckDefinition) -> str:
    """The name of the kind of check that a definition describes; "" when it describes none that could be run.

    Kinds that ask something need an interval.
    """
    asking = {
        "http": definition.http,
        "tcp": definition.tcp,
        "udp": definition.udp,
        "grpc": definition.grpc,
        "h2ping": definition.h2ping,
        "os_service": definition.os_service,
        "docker": definition.docker_container_id and definition.script_args,
        "script": definition.script_args,
    }
    others = {"ttl": definition.ttl, "alias": definition.alias_node or definition.alias_service}
    kinds = {**(asking if definition.interval > 0 else {}), **others}
    return next((kind for kind, value in kinds.items() if value), "")
