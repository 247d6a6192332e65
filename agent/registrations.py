"""`Registrations`: what is registered with this agent, by API or by file, and the checks that run for it."""

import asyncio
import logging
import time

import msgspec

from agent import definitions, file_definitions
from agent.checks.alias import Surroundings
from agent.checks.probe import AgentTls, Tools
from agent.checks.runner import CheckRunner
from agent.config.settings import Config
from agent.definitions import DefinitionError, Expanded
from agent.file_definitions import OwnCheck
from agent.local import LocalState
from model.durations import SECOND
from model.structs.catalog import CheckType, HealthCheck, ServiceDefinition
from rpc.caller import Caller

log = logging.getLogger("lictor.agent")

REAP_INTERVAL = 30.0
REAP_AFTER_AT_LEAST = 60.0
"""Seconds for which a service may be critical before it is removed, however little its checks allow."""


def _tools(config: Config) -> Tools:
    own, tls = None, config.tls.internal_rpc
    if config.enable_agent_tls_for_checks:
        own = AgentTls(tls.ca_file, tls.ca_path, tls.cert_file, tls.key_file, config.tls.server_name)
    return Tools(limit=config.check_output_max_size, tls=own)


class Registrations:
    """Services and checks of one agent: `local` holds the rows, `checks` runs what keeps them up to date."""

    def __init__(self, config: Config, local: LocalState, node_id: str, caller: Caller) -> None:
        self._config = config
        self.local = local
        around = Surroundings(local, (config.node_name, node_id), config.datacenter, caller)
        self.checks = CheckRunner(self._check_result, around, _tools(config))
        self.checks.last_output = self._last_output  # type: ignore[method-assign]
        self._critical_since: dict[str, float] = {}

    def load(self) -> None:
        """What was registered before the last stop, and what the files say. Raises DefinitionError, JsonError.

        What a file defines takes the place of what was registered under the same ID.
        """
        for service, token in self.local.persisted.services():
            self.local.put_service(service, persist=False, token=token)
        self._load_from_files(self._config)
        for check, definition, token in self.local.persisted.checks():
            if check.service_id and check.service_id not in self.local.services:
                self.local.persisted.erase("checks", check.check_id)
            elif definition is None:
                self.local.put_check(check, None, persist=False, token=token)  # Maintenance.
            elif check.check_id not in self.local.checks:
                # Whatever it was, nobody knows how it is now.
                row = msgspec.structs.replace(check, status="critical", output="")
                self.add_check(row, definition, persist=False, token=token)

    def _judged(self, config: Config) -> tuple[list[ServiceDefinition], list[OwnCheck]]:
        """What the files define, if all of it can be taken over. Raises DefinitionError, JsonError."""
        scripts, coming = config.enable_local_script_checks, set(self.local.services) - self.local.from_files
        services = [file_definitions.service(raw) for raw in config.services]
        for definition in services:
            parts = definitions.expand(definition, config.node_name, scripts, lambda _: config.ports.sidecar_min_port)
            coming.update(part.service.id for part in parts)
        checks = [file_definitions.check(raw) for raw in config.checks]
        for own in checks:
            if not own.name:
                raise DefinitionError("Missing check name")
            definitions.validate_check(own.check, scripts)
            if own.service_id and own.service_id not in coming:
                raise DefinitionError(f'ServiceID "{own.service_id}" does not exist')
        return services, checks

    def _load_from_files(self, config: Config) -> None:
        self._take_from_files(config, *self._judged(config))

    def _take_from_files(self, config: Config, services: list[ServiceDefinition], checks: list[OwnCheck]) -> None:
        """Raises DefinitionError when there is no port for a sidecar."""
        for definition in services:
            for part in definitions.expand(
                definition, config.node_name, config.enable_local_script_checks, self.sidecar_port
            ):
                self.add_service(part, replace_checks=False, persist=False, token=definition.token)
                self.local.persisted.erase("services", part.service.id)
                self.local.from_files.add(part.service.id)
                for check, _ in part.checks:
                    self._from_file(check.check_id)
        for own in checks:
            owner = self.local.services.get(own.service_id) if own.service_id else None
            row = definitions.check_of(own.check, config.node_name, owner, own.check_id, own.name)
            row = msgspec.structs.replace(row, type="")  # As Consul shows these.
            self.add_check(row, own.check, persist=False, token=own.token)
            self._from_file(own.check_id)

    def _from_file(self, check_id: str) -> None:
        self.local.persisted.erase("checks", check_id)
        self.local.checks_from_files.add(check_id)

    def sidecar_port(self, service_id: str) -> int:
        """A port for a sidecar: the one that it has, or the lowest free one of the range. Raises DefinitionError."""
        known = self.local.services.get(service_id)
        low, high = self._config.ports.sidecar_min_port, self._config.ports.sidecar_max_port
        if known is not None and low <= known.port <= high:
            return known.port
        lacking = "no port provided for sidecar_service and"
        if low <= 0 or high <= 0:
            raise DefinitionError(f"{lacking} auto-assignment disabled in config", 500)
        used = {service.port for service in self.local.services.values()}
        free = next((port for port in range(low, high + 1) if port not in used), None)
        if free is None:
            raise DefinitionError(f"{lacking} none left in the configured range [{low}, {high}]", 500)
        return free

    def add_service(self, part: Expanded, replace_checks: bool, persist: bool = True, token: str = "") -> None:
        """Add or replace a service with the checks of its definition; `token` is for the catalog."""
        service = part.service
        if replace_checks:
            keep = {check.check_id for check, _ in part.checks}
            for check in self.local.checks_of(service.id):
                if check.check_id not in keep:
                    self.remove_check(check.check_id)
        self.local.put_service(service, persist, token)
        for check, definition in part.checks:
            self.add_check(check, definition, persist, token)

    def remove_service(self, service_id: str) -> None:
        """Remove a service, its checks, and the sidecar that came with it."""
        for check in self.local.checks_of(service_id):
            self.remove_check(check.check_id)
        self.local.remove_service(service_id)
        sidecar = self.local.services.get(f"{service_id}-sidecar-proxy")
        if sidecar is not None and sidecar.locally_registered_as_sidecar:
            self.remove_service(sidecar.id)

    def add_check(self, check: HealthCheck, definition: CheckType, persist: bool = True, token: str = "") -> None:
        """Add or replace a check and run it; a check that was there keeps its status and output."""
        old = self.local.checks.get(check.check_id)
        left = None
        if old is not None:
            if not definition.status:
                check = msgspec.structs.replace(check, status=old.status, output=old.output)
        elif definition.ttl > 0:
            state = self.local.persisted.state(check.check_id)
            if state is not None:
                check = msgspec.structs.replace(check, status=state.status, output=state.output)
                left = min(state.left, definition.ttl / SECOND)
        self.local.put_check(check, definition, persist, token)
        self.checks.add(check.check_id, definition, check.status, left)

    def told(self, check_id: str, status: str, output: str) -> None:
        """A TTL check was told its status; a restart before its time is over does not change that."""
        kept, seconds = self.checks.told(check_id, status, output)
        self.local.persisted.write_state(check_id, status, "" if self._config.discard_check_output else kept, seconds)

    def remove_check(self, check_id: str) -> None:
        """Stop and remove a check."""
        self.checks.remove(check_id)
        self.local.remove_check(check_id)
        self._critical_since.pop(check_id, None)

    def _check_result(self, check_id: str, status: str, output: str) -> None:
        if self._config.discard_check_output:
            output = ""
        self.local.update_check(check_id, status, output)
        if status != "critical":
            self._critical_since.pop(check_id, None)
        else:
            self._critical_since.setdefault(check_id, time.monotonic())

    async def reap(self) -> None:
        """Remove, for ever, services whose checks have been critical for longer than these allow."""
        while True:
            await asyncio.sleep(REAP_INTERVAL)
            for service_id in self.overdue(time.monotonic()):
                log.info("Check for service has been critical for too long, deregistering: service=%s", service_id)
                self.remove_service(service_id)

    def overdue(self, now: float) -> set[str]:
        """The services that have been critical for too long at `now`, on the monotonic clock."""
        found = set()
        for check_id, since in self._critical_since.items():
            check, definition = self.local.checks.get(check_id), self.local.definitions.get(check_id)
            if check is None or definition is None or definition.deregister_critical_service_after <= 0:
                continue
            limit = max(REAP_AFTER_AT_LEAST, definition.deregister_critical_service_after / SECOND)
            if check.service_id in self.local.services and now - since > limit:
                found.add(check.service_id)
        return found

    def _last_output(self, check_id: str) -> str:
        check = self.local.checks.get(check_id)
        return check.output if check else ""

    def maintenance(self, service_id: str, enable: bool, reason: str, token: str = "") -> None:
        """Take a service ("" for the node) out of discovery, or back; `token` is for the catalog."""
        check_id = f"_service_maintenance:{service_id}" if service_id else "_node_maintenance"
        what = "service" if service_id else "node"
        if not enable:
            if check_id in self.local.checks:
                self.local.remove_check(check_id)
            return
        if check_id in self.local.checks:
            return
        owner = self.local.services.get(service_id)
        default = f"Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
        check = HealthCheck(
            node=self._config.node_name,
            check_id=check_id,
            name="Service Maintenance Mode" if service_id else "Node Maintenance Mode",
            status="critical",
            notes=reason or default,
            service_id=service_id,
            service_name=owner.service if owner else "",
            service_tags=list(owner.tags or ()) if owner else [],
            type="maintenance",
        )
        self.local.put_check(check, None, token=token)

    def reload(self, config: Config) -> None:
        """Take what the files say now in place of what they said. Raises DefinitionError, JsonError; then nothing
        has changed, but for what was defined before a sidecar for which there was no port."""
        services, checks = self._judged(config)
        self._config = config
        self.checks.tools = _tools(config)
        self.local.output_interval = config.check_update_interval
        before, checks_before = set(self.local.from_files), set(self.local.checks_from_files)
        self.local.from_files.clear()
        self.local.checks_from_files.clear()
        try:
            self._take_from_files(config, services, checks)
        except DefinitionError:
            self.local.from_files |= before  # They go with the next reload that works.
            self.local.checks_from_files |= checks_before
            raise
        for service_id in before - self.local.from_files:
            if service_id in self.local.services:
                self.remove_service(service_id)
        for check_id in checks_before - self.local.checks_from_files:
            if check_id in self.local.checks:
                self.remove_check(check_id)
