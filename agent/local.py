"""The agent's own services and checks: kept on disk, kept in step with the catalog.

The agent is the source of truth for its node. `difference` (pure) says what the catalog lacks or has too much;
`LocalState` makes the calls, at once after a change and from time to time anyway.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
AT_ONCE = 32
"""Calls to the servers that are under way at the same time."""


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
    agreed: "Agreed | None" = None,
) -> Difference:
    """Compare; on a server the `consul` service and on all nodes `serfHealth` are the leader's business.

    Of the `chatty` checks a new output alone is no difference yet. `agreed` spares looking at the same rows again.
    """
    agreed = agreed or Agreed()
    held = {service.id: service for service in remote_services}
    held_checks = {check.check_id: check for check in remote_checks}
    same_node = remote_node is not None and (
        (remote_node.id, remote_node.address, remote_node.tagged_addresses or {}, remote_node.meta or {})
        == (node.id, node.address, node.tagged_addresses or {}, node.meta or {})
    )
    return Difference(
        node=not same_node,
        register_services=[key for key, one in services.items() if not agreed.service(one, held.get(key))],
        register_checks=[
            key for key, one in checks.items() if not agreed.check(one, held_checks.get(key), key in chatty)
        ],
        deregister_services=[key for key in held if key not in services and not (is_server and key == CONSUL_SERVICE)],
        deregister_checks=[key for key in held_checks if key not in checks and key != SERF_HEALTH],
    )


class Agreed:
    """Remembers which rows were found to say the same: rows never change, so the very same two still do.

    On a server the catalog's own rows are compared, so a change of one service costs no look at all the others.
    """

    def __init__(self) -> None:
        self._services: dict[str, tuple[NodeService, NodeService]] = {}
        self._checks: dict[str, tuple[HealthCheck, HealthCheck]] = {}

    def service(self, mine: NodeService, theirs: NodeService | None) -> bool:
        """As `same_service`."""
        if theirs is None:
            return False
        known = self._services.get(mine.id)
        if known is not None and known[0] is mine and known[1] is theirs:
            return True
        same = same_service(mine, theirs)
        if same:
            self._services[mine.id] = mine, theirs
        return same

    def check(self, mine: HealthCheck, theirs: HealthCheck | None, whatever_output: bool) -> bool:
        """Whether the catalog's row says what the agent's does, the output apart if that does not matter now."""
        if theirs is None:
            return False
        known = self._checks.get(mine.check_id)
        if known is not None and known[0] is mine and known[1] is theirs:
            return True
        same = _same_check(mine, theirs, whatever_output)
        if same and not whatever_output:
            self._checks[mine.check_id] = mine, theirs
        return same

    def forget(self, services: Collection[str], checks: Collection[str]) -> None:
        """Keep only what concerns these."""
        if len(self._services) > len(services):
            self._services = {key: pair for key, pair in self._services.items() if key in services}
        if len(self._checks) > len(checks):
            self._checks = {key: pair for key, pair in self._checks.items() if key in checks}


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


class _Mending:
    """One comparison's calls: what the servers refuse about one thing does not keep the others from them."""

    def __init__(self) -> None:
        self._refused: RpcError | None = None

    async def one(self, what: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Make a call; False when it was refused. Raises RpcError when there is nobody to ask."""
        try:
            await work()
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
        self._agreed = Agreed()
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
        self._dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_change: list[Callable[[str], None]] = []
        self.synced = asyncio.Event()

    # Changes

    def put_service(self, service: NodeService, persist: bool = True) -> None:
        """Add or replace a service."""
        self.registered[service.id] = self.services[service.id] = service
        if persist:
            self.persisted.write_service(service)
        self._touch(service.id)

    def remove_service(self, service_id: str) -> None:
        """Remove a service; its checks are removed one by one."""
        del self.services[service_id], self.registered[service_id]
        self._held.discard(service_id)
        self.persisted.erase("services", service_id)
        self._touch(service_id)

    def show(self, service: NodeService) -> None:
        """Show and sync a registered service in another form, which is not kept on disk."""
        if service.id in self.registered and self.services[service.id] != service:
            self.services[service.id] = service
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
            self._dirty.set()

    def replace_node(self, node: Node) -> None:
        """Show this node in another way from now on."""
        self.node = node
        self._touch("")

    def put_check(self, check: HealthCheck, definition: CheckType | None, persist: bool = True) -> None:
        """Add or replace a check."""
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
            self._touch(check.service_id)
        elif self.output_interval <= 0:
            self._dirty.set()
        elif check_id not in self._waiting_outputs:
            seconds = self.output_interval * (0.5 + random.random())
            loop = asyncio.get_running_loop()
            self._waiting_outputs[check_id] = loop.call_later(seconds, self._tell_output, check_id)

    def _tell_output(self, check_id: str) -> None:
        self._keep_output(check_id)
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
        while True:
            try:
                async with asyncio.timeout(SYNC_INTERVAL):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            try:
                await self.sync()
                self.synced.set()
            except RpcError as error:
                log.warning("Syncing with the catalog failed: %s", error.text)
                self._dirty.set()
                await asyncio.sleep(RETRY_INTERVAL)
            except Exception:
                log.exception("Syncing with the catalog failed")
                await asyncio.sleep(RETRY_INTERVAL)

    async def sync(self) -> None:
        """Compare with the catalog once and mend what differs. Raises RpcError."""
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
            self._agreed,
        )
        self._agreed.forget(self.services.keys(), self.checks.keys())
        mend = _Mending()
        gone = [
            mend.one(f"service={one}", partial(self._deregister, service_id=one)) for one in todo.deregister_services
        ]
        await _together(gone)
        gone = [mend.one(f"check={one}", partial(self._deregister, check_id=one)) for one in todo.deregister_checks]
        await _together(gone)
        if todo.node and not todo.register_services and not todo.register_checks:
            await self._register(None, [], skip=False)
        update_node = todo.node
        held_there = {one.id: one for one in listed.node_services.services or ()}
        to_tell: dict[str, list[HealthCheck]] = {}
        for check_id in todo.register_checks:
            if check_id in self.checks:
                to_tell.setdefault(self.checks[check_id].service_id, []).append(self.checks[check_id])
        calls: list[Coroutine[Any, Any, bool]] = []
        for service_id in todo.register_services:
            service = self.services.get(service_id)
            if service is None or self.held(service_id):
                continue
            held = held_there.get(service_id)
            if held is not None and service.enable_tag_override:
                service = msgspec.structs.replace(service, tags=held.tags)
                self.services[service_id] = service
            checks = to_tell.pop(service_id, [])
            call = mend.one(
                f"service={service_id}", partial(self._register_service, service, checks, skip=not update_node)
            )
            if update_node:  # The node first; the others need it.
                update_node = not await call
            else:
                calls.append(call)
        await _together(calls)
        for service_id, checks in to_tell.items():
            for check in checks:
                if self.held(service_id) or check.check_id not in self.checks:
                    continue
                call = mend.one(f"check={check.check_id}", partial(self._register_check, check, skip=not update_node))
                if update_node:
                    update_node = not await call
                else:
                    calls.append(call)
        await _together(calls)
        mend.finish()

    async def _register_service(self, service: NodeService, checks: list[HealthCheck], skip: bool) -> None:
        await self._register(service, checks, skip)
        log.info("Synced service: service=%s", service.id)

    async def _register_check(self, check: HealthCheck, skip: bool) -> None:
        await self._register(None, [check], skip)
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


async def _together(calls: list[Coroutine[Any, Any, bool]]) -> None:
    """Make calls, some at a time, so that they share the flushes of the servers' logs; `calls` is empty afterwards.

    Raises what the first of them raised that failed, once those under way with it have ended.
    """
    try:
        while calls:
            some, calls[:AT_ONCE] = calls[:AT_ONCE], []
            for outcome in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
    finally:
        for call in calls:
            call.close()  # Never begun.
        calls.clear()
