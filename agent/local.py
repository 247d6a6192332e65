"""The agent's own services and checks: kept on disk, kept in step with the catalog.

The agent is the source of truth for its node. `agent.difference` says what the catalog lacks or has too much;
`LocalState` makes the calls, at once after a change and from time to time anyway.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agent.config.settings import AclConfig
from agent.difference import Changes, difference
from agent.persisted import Persisted
from agent.tokens import AgentTokens
from model.codec import WireError
from model.errors import ACL_NOT_FOUND, NO_LEADER, NO_SERVERS, PERMISSION_DENIED, RpcError
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

SYNC_INTERVAL = 60.0
RETRY_INTERVAL = 3.0
HELD_MOMENT = 0.02
"""Seconds for which a change waits for what is held and changed with it."""
HELD_AT_MOST = 5.0
"""Seconds for which who registers something waits for what is held."""
AT_ONCE = 32
"""Calls to the servers that are under way at the same time."""


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
            if error.has(PERMISSION_DENIED) or error.has(ACL_NOT_FOUND):
                # To try again at once would not help: a token has to change. The next comparison tries it.
                log.warning("%s is blocked by ACLs: %s", what, error.text)
                return False
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
        self,
        caller: Caller,
        node: Node,
        is_server: bool,
        folder: Path | None,
        output_interval: float = 300.0,
        tokens: AgentTokens | None = None,
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
        self._tokens = tokens or AgentTokens(AclConfig(), None)
        self._service_tokens: dict[str, str] = {}
        self._check_tokens: dict[str, str] = {}
        """The tokens that services and checks were registered with, as far as they were registered with one."""
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
        self._made = 0
        """How many changes were made that the catalog is to hear of."""
        self._tried = 0
        """How many of them it was told of, whether it took them or not."""
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._urgent = asyncio.Event()
        self._nothing_held = asyncio.Event()
        self._nothing_held.set()

    # Changes

    def service_token(self, service_id: str) -> str:
        """The token with which a service is registered with the catalog."""
        return self._service_tokens.get(service_id) or self._tokens.default

    def check_token(self, check_id: str) -> str:
        """The token with which a check is registered with the catalog."""
        return self._check_tokens.get(check_id) or self._tokens.default

    def put_service(self, service: NodeService, persist: bool = True, token: str = "") -> None:
        """Add or replace a service, which the catalog is told of with `token`, or else the agent's default one."""
        # With another token what the catalog refused may be allowed.
        if self.services.get(service.id) != service or self._service_tokens.get(service.id, "") != token:
            self._changes.service(service.id)
        self.registered[service.id] = self.services[service.id] = service
        _note(self._service_tokens, service.id, token)
        if persist:
            self.persisted.write_service(service, token)
        self._touch(service.id)

    def remove_service(self, service_id: str) -> None:
        """Remove a service; its checks are removed one by one."""
        del self.services[service_id], self.registered[service_id]
        self._service_tokens.pop(service_id, None)
        self._let_go(service_id)
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
        self._nothing_held.clear()

    def held(self, service_id: str) -> bool:
        """Whether a service is not to be registered with the catalog yet."""
        return service_id in self._held

    def release(self, service_id: str) -> None:
        """The catalog may know a service."""
        if service_id in self._held:
            self._let_go(service_id)
            self._changes.service(service_id)
            for check in self.checks_of(service_id):
                self._changes.check(check.check_id)
            self._to_tell()

    def _let_go(self, service_id: str) -> None:
        self._held.discard(service_id)
        if not self._held:
            self._nothing_held.set()

    def compare_again(self) -> None:
        """Compare with the catalog soon: what it refused may be allowed now."""
        self._compare = True
        self._to_tell()

    def replace_node(self, node: Node) -> None:
        """Show this node in another way from now on."""
        self.node = node
        self._compare = True
        self._touch("")

    def put_check(
        self, check: HealthCheck, definition: CheckType | None, persist: bool = True, token: str = ""
    ) -> None:
        """Add or replace a check; `token` as for a service."""
        if self.checks.get(check.check_id) != check or self._check_tokens.get(check.check_id, "") != token:
            self._changes.check(check.check_id)
        self.checks[check.check_id] = check
        if definition is not None:
            self.definitions[check.check_id] = definition
        _note(self._check_tokens, check.check_id, token)
        if persist:
            self.persisted.write_check(check, definition, token)
        self._touch(check.service_id)

    def remove_check(self, check_id: str) -> None:
        """Remove a check."""
        check = self.checks.pop(check_id)
        self.definitions.pop(check_id, None)
        self._check_tokens.pop(check_id, None)
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
        self._to_tell()

    def _keep_output(self, check_id: str) -> None:
        """The output of a check is not waiting to be told any more."""
        timer = self._waiting_outputs.pop(check_id, None)
        if timer is not None:
            timer.cancel()

    def _to_tell(self) -> None:
        self._made += 1
        self._dirty.set()

    def _touch(self, service_id: str) -> None:
        self._to_tell()
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

    async def told(self) -> None:
        """Return once the catalog was told of all changes made so far, or could not be.

        Whoever registers something with an agent looks for it in the catalog next.
        """
        if self._task is None or self._task.done():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELD_AT_MOST):
                await self._nothing_held.wait()
        if self._tried < self._made:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((self._made, waiter))
            self._urgent.set()
            await waiter

    def _wake(self, tried: int) -> None:
        """Let those go on whose changes are among the first `tried`."""
        self._tried = tried
        waiters, self._waiters = self._waiters, []
        for made, waiter in waiters:
            if made > tried:
                self._waiters.append((made, waiter))
            elif not waiter.done():
                waiter.set_result(None)

    async def stop(self) -> None:
        """Stop."""
        for check_id in list(self._waiting_outputs):
            self._keep_output(check_id)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._wake(self._made)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        compared = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(compared + SYNC_INTERVAL):
                    await self._dirty.wait()
            except TimeoutError:
                self._compare = True
            await self._wait_for_held()
            self._dirty.clear()
            self._urgent.clear()
            made = self._made
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
            finally:
                self._wake(made)
            self._compare = True
            self._dirty.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_INTERVAL):
                    await self._urgent.wait()

    async def _wait_for_held(self) -> None:
        """Give services that are held a moment: most are released at once, and then they go with the others."""
        loop = asyncio.get_running_loop()
        until = loop.time() + HELD_MOMENT
        while any(self.held(one) for one in self._changes.services) and loop.time() < until:
            await asyncio.sleep(0.001)

    async def sync_changes(self) -> None:
        """Tell the catalog what was changed here, without looking at what it has. Raises RpcError."""
        changes, self._changes = self._changes, Changes()
        if any(self.services[one].enable_tag_override for one in changes.services if one in self.services):
            await self.sync()  # Their tags are the catalog's.
            return
        mend = _Mending()
        of_gone = {check for check, service in changes.gone_checks.items() if service in changes.gone_services}
        await self._untell(mend, changes.gone_services, changes.gone_checks.keys() - of_gone)
        to_tell: dict[str, list[HealthCheck]] = {}
        for check_id in changes.checks:
            if check_id in self.checks:
                to_tell.setdefault(self.checks[check_id].service_id, []).append(self.checks[check_id])
        await self._tell(mend, changes.services, to_tell, False)
        mend.finish()

    async def sync(self) -> None:
        """Compare with the catalog once and mend what differs. Raises RpcError."""
        self._changes = Changes()
        own = self._tokens.agent
        request = NodeSpecificRequest(node=self.node.node, datacenter=self.node.datacenter, token=own)
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
        mend = _Mending()
        await self._untell(mend, todo.deregister_services, todo.deregister_checks)
        if todo.node and not todo.register_services and not todo.register_checks:
            await mend.one(f"node={self.node.node}", self._register_node)
        update_node = todo.node
        to_tell: dict[str, list[HealthCheck]] = {}
        for check_id in todo.register_checks:
            if check_id in self.checks:
                to_tell.setdefault(self.checks[check_id].service_id, []).append(self.checks[check_id])
        held = {one.id: one for one in listed.node_services.services or ()}
        for service_id in todo.register_services:
            service = self.services.get(service_id)
            if service is not None and service_id in held and service.enable_tag_override:
                self.services[service_id] = msgspec.structs.replace(service, tags=held[service_id].tags)
        await self._tell(mend, todo.register_services, to_tell, update_node)
        mend.finish()
        self._compare = False

    async def _untell(self, mend: _Mending, services: Collection[str], checks: Collection[str]) -> None:
        """Deregister services, then checks."""
        for what, ids in (("service", services), ("check", checks)):
            calls = [partial(self._deregister, **{f"{what}_id": one}) for one in ids]
            await _together([mend.one(f"{what}={one}", call) for one, call in zip(ids, calls, strict=True)])

    async def _tell(
        self, mend: _Mending, services: Collection[str], checks: dict[str, list[HealthCheck]], update_node: bool
    ) -> None:
        """Register services, each with its checks among `checks`, then other checks; the first tells of the node."""
        calls: list[Coroutine[Any, Any, bool]] = []
        if update_node and self._tokens.agent:  # Other tokens may not write the node.
            update_node = not await mend.one(f"node={self.node.node}", self._register_node)
        for service_id in services:
            service = self.services.get(service_id)
            if service is None or self.held(service_id):
                continue
            token = self.service_token(service_id)
            its_checks = checks.pop(service_id, [])
            own = [check for check in its_checks if self.check_token(check.check_id) == token]
            if len(own) < len(its_checks):
                checks[service_id] = [check for check in its_checks if check not in own]
            row = partial(self._register_service, service, own, skip=not update_node)
            call = mend.one(f"service={service_id}", row)
            if update_node:  # The node first; the others need it.
                update_node = not await call
            else:
                calls.append(call)
        await _together(calls)
        for service_id, rows in checks.items():
            for check in rows:
                if self.held(service_id) or check.check_id not in self.checks:
                    continue
                call = mend.one(f"check={check.check_id}", partial(self._register_check, check, skip=not update_node))
                if update_node:
                    update_node = not await call
                else:
                    calls.append(call)
        await _together(calls)

    async def _register_service(self, service: NodeService, checks: list[HealthCheck], skip: bool) -> None:
        await self._register(service, checks, skip, self.service_token(service.id))
        log.info("Synced service: service=%s", service.id)

    async def _register_check(self, check: HealthCheck, skip: bool) -> None:
        await self._register(None, [check], skip, self.check_token(check.check_id))
        log.debug("Synced check: check=%s", check.check_id)

    async def _register_node(self) -> None:
        await self._register(None, [], False, self._tokens.agent)
        log.info("Synced node info")

    async def _register(
        self, service: NodeService | None, checks: list[HealthCheck], skip: bool, token: str
    ) -> None:
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
                token=token,
            ),
        )

    async def _deregister(self, service_id: str = "", check_id: str = "") -> None:
        request = DeregisterRequest(
            datacenter=self.node.datacenter,
            node=self.node.node,
            service_id=service_id,
            check_id=check_id,
            token=self._tokens.agent,
        )
        await self._caller.call("Catalog.Deregister", request)


def _note(tokens: dict[str, str], identifier: str, token: str) -> None:
    if token:
        tokens[identifier] = token
    else:
        tokens.pop(identifier, None)


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
