"""What the catalog lacks, or has too much, of what an agent knows: by comparing (pure), or by noting what changed."""

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from model.structs.catalog import HealthCheck, Node, NodeService

CONSUL_SERVICE = "consul"
SERF_HEALTH = "serfHealth"


class Difference(NamedTuple):
    """What has to be done so that the catalog shows what the agent knows."""

    node: bool
    register_services: list[str]
    register_checks: list[str]
    deregister_services: list[str]
    deregister_checks: list[str]


def difference(
    node: Node,
    services: dict[str, NodeService],
    checks: dict[str, HealthCheck],
    remote_node: Node | None,
    remote_services: list[NodeService],
    remote_checks: list[HealthCheck],
    is_server: bool,
    chatty: Collection[str] = (),
) -> Difference:
    """Compare; on a server the `consul` service and on all nodes `serfHealth` are the leader's business.

    Of the `chatty` checks a new output alone is no difference yet.
    """
    held = {service.id: service for service in remote_services}
    held_checks = {check.check_id: check for check in remote_checks}
    same_node = remote_node is not None and (
        (remote_node.id, remote_node.address, remote_node.tagged_addresses or {}, remote_node.meta or {})
        == (node.id, node.address, node.tagged_addresses or {}, node.meta or {})
    )
    return Difference(
        node=not same_node,
        register_services=[key for key, one in services.items() if not same_service(one, held.get(key))],
        register_checks=[
            key for key, one in checks.items() if not _same_check(one, held_checks.get(key), key in chatty)
        ],
        deregister_services=[key for key in held if key not in services and not (is_server and key == CONSUL_SERVICE)],
        deregister_checks=[key for key in held_checks if key not in checks and key != SERF_HEALTH],
    )


def same_service(mine: NodeService, theirs: NodeService | None) -> bool:
    """Whether the catalog's row says what the agent's does; a virtual address is the catalog's own addition."""
    if theirs is None:
        return False
    tagged = {key: value for key, value in (theirs.tagged_addresses or {}).items() if key != "consul-virtual"}
    own = {key: value for key, value in (mine.tagged_addresses or {}).items() if key != "consul-virtual"}
    tags = theirs.tags if mine.enable_tag_override else mine.tags
    plain = msgspec.structs.replace(
        theirs,
        tagged_addresses=None,
        create_index=0,
        modify_index=0,
        meta=theirs.meta or None,
        tags=theirs.tags or None,
    )
    return own == tagged and plain == msgspec.structs.replace(
        mine, tagged_addresses=None, create_index=0, modify_index=0, meta=mine.meta or None, tags=tags or None
    )


def _same_check(mine: HealthCheck, theirs: HealthCheck | None, whatever_output: bool) -> bool:
    if theirs is None:
        return False
    if whatever_output:
        theirs = msgspec.structs.replace(theirs, output=mine.output)
    return msgspec.structs.replace(
        theirs, create_index=0, modify_index=0, service_tags=None, service_name=""
    ) == msgspec.structs.replace(mine, create_index=0, modify_index=0, service_tags=None, service_name="")


class Changes:
    """What was changed here since the catalog was told, in that order: IDs to be registered, and IDs that are gone."""

    def __init__(self) -> None:
        self.services: dict[str, None] = {}
        self.checks: dict[str, None] = {}
        self.gone_services: dict[str, None] = {}
        self.gone_checks: dict[str, str] = {}
        """By the check's ID, the service that it belonged to."""

    def service(self, service_id: str) -> None:
        """A service is new, or another than it was."""
        self.services[service_id] = None
        self.gone_services.pop(service_id, None)

    def check(self, check_id: str) -> None:
        """A check is new, or another than it was."""
        self.checks[check_id] = None
        self.gone_checks.pop(check_id, None)

    def no_service(self, service_id: str) -> None:
        """A service is gone."""
        self.services.pop(service_id, None)
        self.gone_services[service_id] = None

    def no_check(self, check_id: str, service_id: str) -> None:
        """A check is gone."""
        self.checks.pop(check_id, None)
        self.gone_checks[check_id] = service_id
