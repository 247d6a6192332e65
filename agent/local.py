"""The agent's own services and checks: kept on disk, kept in step with the catalog.

The agent is the source of truth for its node. `difference` (pure) says what the catalog lacks or has too much;
`LocalState` makes the calls, at once after a change and from time to time anyway.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent.persisted import Persisted
from model.codec import WireError
from model.errors import NO_LEADER, NO_SERVERS, RpcError
from model.structs.catalog import CheckType, HealthCheck, Node, NodeService
from model.structs.catalog_rpc import (
    DeregisterRequest,
    IndexedHealthChecks,
    IndexedNodeServiceList,
    NodeSpecificRequest,
    RegisterRequest,
)
from rpc.caller import Caller

log = logging.getLogger("lictor.agent")

CONSUL_SERVICE = "consul"
SERF_HEALTH = "serfHealth"
SYNC_INTERVAL = 60.0
RETRY_INTERVAL = 3.0


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


class _Mending:
    """One comparison's calls: what the servers refuse about one thing does not keep the others from them."""

    def __init__(self) -> None:
        self._refused: RpcError | None = None

    async def one(self, what: str, work: Awaitable[None]) -> bool:
        """Make a call; False when it was refused. Raises RpcError when there is nobody to ask."""
        try:
            await work
        except RpcError as error:
            if error.has(NO_LEADER) or error.has(NO_SERVERS):
                raise
            log.warning("The catalog refuses %s: %s", what, error.text)
            self._refused = self._refused or error
            return False
        except WireError as error:
            log.error("The catalog cannot be told about %s: %s", what, error)
            self._refused = self._refused or RpcError(str(error))
            return False
        return True

    def finish(self) -> None:
        """Raise RpcError when something was refused, so that it is tried again."""
        if self._refused is not None:
            raise self._refused


class LocalState:
    """Services and checks by ID. `on_change` is called with "" or a service's ID after every change."""

    def __init__(
        self, caller: Caller, node: Node, is_server: bool, folder: Path | None, output_interval: float = 300.0
    ) -> None:
        self._caller = caller
        self.node = node
        self._is_server = is_server
        self.persisted = Persisted(folder)
        self.output_interval = output_interval
        """Seconds, more or less, for which a check's new output may wait as long as its status is the same."""
        self._waiting_outputs: dict[str, asyncio.TimerHandle] = {}
        self.registered: dict[str, NodeService] = {}
        """The services as they were registered."""
        self.services: dict[str, NodeService] = {}
        """The services as they are shown and synced: proxies with their central defaults."""
        self._held: set[str] = set()
        self.checks: dict[str, HealthCheck] = {}
        self.definitions: dict[str, CheckType] = {}
        self.tokens: dict[str, str] = {}
        self.from_files: set[str] = set()
        """The services that configuration files define."""
        self.checks_from_files: set[str] = set()
        self._changes = Changes()
        self._compare = True
        """Whether the next sync reads the catalog: the first, one after a failure, and one from time to time."""
        self._dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_change: list[Callable[[str], None]] = []
        self.synced = asyncio.Event()

    # Changes

    def put_service(self, service: NodeService, persist: bool = True) -> None:
        """Add or replace a service."""
        if self.services.get(service.id) != service:
            self._changes.service(service.id)
        self.registered[service.id] = self.services[service.id] = service
        if persist:
            self.persisted.write_service(service)
        self._touch(service.id)

    def remove_service(self, service_id: str) -> None:
        """Remove a service; its checks are removed one by one."""
        del self.services[service_id], self.registered[service_id]
        self._held.discard(service_id)
        self._changes.no_service(service_id)
        self.persisted.erase("services", service_id)
        self._touch(service_id)

    def show(self, service: NodeService) -> None:
        """Show and sync a registered service in another form, which is not kept on disk."""
        if service.id in self.registered and self.services[service.id] != service:
            self.services[service.id] = service
            self._changes.service(service.id)
            self._touch(service.id)

    def hold(self, service_id: str) -> None:
        """Do not register a service with the catalog until it is released: what it will look like is not known yet."""
        self._held.add(service_id)

    def held(self, service_id: str) -> bool:
        """Whether a service is not to be registered with the catalog yet."""
        return service_id in self._held

    def release(self, service_id: str) -> None:
        """The catalog may know a service."""
        if service_id in self._held:
            self._held.discard(service_id)
            self._changes.service(service_id)
            for check in self.checks_of(service_id):
                self._changes.check(check.check_id)
            self._dirty.set()

    def replace_node(self, node: Node) -> None:
        """Show this node in another way from now on."""
        self.node = node
        self._compare = True
        self._touch("")

    def put_check(self, check: HealthCheck, definition: CheckType | None, persist: bool = True) -> None:
        """Add or replace a check."""
        if self.checks.get(check.check_id) != check:
            self._changes.check(check.check_id)
        self.checks[check.check_id] = check
        if definition is not None:
            self.definitions[check.check_id] = definition
        if persist:
            self.persisted.write_check(check, definition)
        self._touch(check.service_id)

    def remove_check(self, check_id: str) -> None:
        """Remove a check."""
        check = self.checks.pop(check_id)
        self.definitions.pop(check_id, None)
        self._changes.no_check(check_id, check.service_id)
        self._keep_output(check_id)
        self.persisted.erase("checks", check_id)
        self.persisted.erase("checks/state", check_id)
        self._touch(check.service_id)

    def update_check(self, check_id: str, status: str, output: str) -> None:
        """A check has a new result. Of a new output alone the catalog hears later, so that it is not kept busy."""
        check = self.checks.get(check_id)
        if check is None or (check.status, check.output) == (status, output):
            return
        self.checks[check_id] = msgspec.structs.replace(check, status=status, output=output)
        if check.status != status:
            self._keep_output(check_id)
            self._changes.check(check_id)
            self._touch(check.service_id)
        elif self.output_interval <= 0:
            self._tell_output(check_id)
        elif check_id not in self._waiting_outputs:
            seconds = self.output_interval * (0.5 + random.random())
            loop = asyncio.get_running_loop()
            self._waiting_outputs[check_id] = loop.call_later(seconds, self._tell_output, check_id)

    def _tell_output(self, check_id: str) -> None:
        self._keep_output(check_id)
        self._changes.check(check_id)
        self._dirty.set()

    def _keep_output(self, check_id: str) -> None:
        """The output of a check is not waiting to be told any more."""
        timer = self._waiting_outputs.pop(check_id, None)
        if timer is not None:
            timer.cancel()

    def _touch(self, service_id: str) -> None:
        self._dirty.set()
        self._changed.set()
        self._changed = asyncio.Event()
        for callback in self.on_change:
            callback(service_id)

    async def wait_changed(self, seconds: float) -> None:
        """Return after a change, or when `seconds` have gone by."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def checks_of(self, service_id: str) -> list[HealthCheck]:
        """The checks of a service ("" for the node's own)."""
        return [check for check in self.checks.values() if check.service_id == service_id]

    # The catalog

    def start(self) -> None:
        """Begin to keep the catalog in step."""
        self._dirty.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop."""
        for check_id in list(self._waiting_outputs):
            self._keep_output(check_id)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        compared = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(compared + SYNC_INTERVAL):
                    await self._dirty.wait()
            except TimeoutError:
                self._compare = True
            self._dirty.clear()
            try:
                if self._compare or loop.time() > compared + SYNC_INTERVAL:
                    await self.sync()
                    compared = loop.time()
                else:
                    await self.sync_changes()
                self.synced.set()
                continue
            except RpcError as error:
                log.warning("Syncing with the catalog failed: %s", error.text)
            except Exception:
                log.exception("Syncing with the catalog failed")
            self._compare = True
            self._dirty.set()
            await asyncio.sleep(RETRY_INTERVAL)

    async def sync_changes(self) -> None:
        """Tell the catalog what was changed here, without looking at what it has. Raises RpcError."""
        changes, self._changes = self._changes, Changes()
        if any(self.services[one].enable_tag_override for one in changes.services if one in self.services):
            await self.sync()  # Their tags are the catalog's.
            return
        mend = _Mending()
        for service_id in changes.gone_services:
            await mend.one(f"service={service_id}", self._deregister(service_id=service_id))
        for check_id, service_id in changes.gone_checks.items():
            if service_id not in changes.gone_services:
                await mend.one(f"check={check_id}", self._deregister(check_id=check_id))
        to_tell: dict[str, list[HealthCheck]] = {}
        for check_id in changes.checks:
            if check_id in self.checks:
                to_tell.setdefault(self.checks[check_id].service_id, []).append(self.checks[check_id])
        await self._tell(mend, changes.services, to_tell, False)
        mend.finish()

    async def sync(self) -> None:
        """Compare with the catalog once and mend what differs. Raises RpcError."""
        self._changes = Changes()
        request = NodeSpecificRequest(node=self.node.node, datacenter=self.node.datacenter)
        listed = await self._caller.call("Catalog.NodeServiceList", request)
        assert isinstance(listed, IndexedNodeServiceList)
        checked = await self._caller.call("Health.NodeChecks", request)
        assert isinstance(checked, IndexedHealthChecks)
        todo = difference(
            self.node,
            dict(self.services),
            dict(self.checks),
            listed.node_services.node,
            listed.node_services.services or [],
            checked.health_checks or [],
            self._is_server,
            self._waiting_outputs.keys(),
        )
        held = {one.id: one for one in listed.node_services.services or ()}
        mend = _Mending()
        for service_id in todo.deregister_services:
            await mend.one(f"service={service_id}", self._deregister(service_id=service_id))
        for check_id in todo.deregister_checks:
            await mend.one(f"check={check_id}", self._deregister(check_id=check_id))
        if todo.node and not todo.register_services and not todo.register_checks:
            await self._register(None, [], skip=False)
        update_node = todo.node
        to_tell: dict[str, list[HealthCheck]] = {}
        for check_id in todo.register_checks:
            if check_id in self.checks:
                to_tell.setdefault(self.checks[check_id].service_id, []).append(self.checks[check_id])
        for service_id in todo.register_services:
            service = self.services.get(service_id)
            if service is not None and service_id in held and service.enable_tag_override:
                self.services[service_id] = msgspec.structs.replace(service, tags=held[service_id].tags)
        await self._tell(mend, todo.register_services, to_tell, update_node)
        mend.finish()
        self._compare = False

    async def _tell(
        self, mend: _Mending, services: Collection[str], checks: dict[str, list[HealthCheck]], update_node: bool
    ) -> None:
        """Register services, each with its checks among `checks`, then other checks; the first tells of the node."""
        for service_id in services:
            service = self.services.get(service_id)
            if service is None or self.held(service_id):
                continue
            work = self._register(service, checks.pop(service_id, []), skip=not update_node)
            if await mend.one(f"service={service_id}", work):
                update_node = False
                log.info("Synced service: service=%s", service_id)
        for service_id, rows in checks.items():
            for check in rows:
                if self.held(service_id) or check.check_id not in self.checks:
                    continue
                work = self._register(None, [check], skip=not update_node)
                if await mend.one(f"check={check.check_id}", work):
                    update_node = False
                    log.debug("Synced check: check=%s", check.check_id)

    async def _register(self, service: NodeService | None, checks: list[HealthCheck], skip: bool) -> None:
        node = self.node
        await self._caller.call(
            "Catalog.Register",
            RegisterRequest(
                datacenter=node.datacenter,
                id=node.id,
                node=node.node,
                address=node.address,
                tagged_addresses=node.tagged_addresses,
                node_meta=node.meta,
                service=service,
                checks=checks or None,
                skip_node_update=skip,
            ),
        )

    async def _deregister(self, service_id: str = "", check_id: str = "") -> None:
        request = DeregisterRequest(
            datacenter=self.node.datacenter, node=self.node.node, service_id=service_id, check_id=check_id
        )
        await self._caller.call("Catalog.Deregister", request)
