"""`Registrations`: what is registered with this agent, by API or by file, and the checks that run for it."""

import logging
import time

import msgspec

from agent import definitions, file_definitions
from agent.checks.runner import CheckRunner
from agent.config.settings import Config
from agent.definitions import DefinitionError, Expanded
from agent.local import LocalState
from model.structs.catalog import CheckType, HealthCheck

log = logging.getLogger("lictor.agent")


class Registrations:
    """Services and checks of one agent: `local` holds the rows, `checks` runs what keeps them up to date."""

    def __init__(self, config: Config, local: LocalState) -> None:
        self._config = config
        self.local = local
        self.checks = CheckRunner(self._check_result, self._aliased, config.check_output_max_size)
        self.checks.last_output = self._last_output  # type: ignore[method-assign]
        self._critical_since: dict[str, float] = {}

    def load(self) -> None:
        """What was registered before the last stop, then what the files say. Raises DefinitionError, JsonError."""
        services, checks = self.local.load()
        for service in services:
            self.local.put_service(service, persist=False)
        for check, definition in checks:
            if not check.service_id or check.service_id in self.local.services:
                self.local.put_check(msgspec.structs.replace(check, status="critical"), definition, persist=False)
                if definition is not None:
                    self.checks.add(check.check_id, definition, "critical")
        self._load_from_files(self._config)

    def _load_from_files(self, config: Config) -> None:
        for raw in config.services:
            definition = file_definitions.service(raw)
            for part in definitions.expand(
                definition, config.node_name, config.enable_local_script_checks, self.sidecar_port
            ):
                self.add_service(part, replace_checks=True, persist=False)
                self.local.from_files.add(part.service.id)
        for raw in config.checks:
            own = file_definitions.check(raw)
            if not own.name:
                raise DefinitionError("Missing check name")
            definitions.validate_check(own.check, config.enable_local_script_checks)
            owner = self.local.services.get(own.service_id) if own.service_id else None
            if own.service_id and owner is None:
                raise DefinitionError(f'ServiceID "{own.service_id}" does not exist')
            row = definitions.check_of(own.check, config.node_name, owner, own.check_id, own.name)
            self.add_check(msgspec.structs.replace(row, type=""), own.check, persist=False)  # As Consul shows these.
            self.local.checks_from_files.add(own.check_id)

    def sidecar_port(self, service_id: str) -> int:
        """A port for a sidecar: the one that it has, or the lowest free one of the range; 0 when none is left."""
        known = self.local.services.get(service_id)
        low, high = self._config.ports.sidecar_min_port, self._config.ports.sidecar_max_port
        if known is not None and low <= known.port <= high:
            return known.port
        used = {service.port for service in self.local.services.values()}
        return next((port for port in range(low, high + 1) if port not in used), 0)

    def add_service(self, part: Expanded, replace_checks: bool, persist: bool = True) -> None:
        """Add or replace a service with the checks of its definition."""
        service = part.service
        if replace_checks:
            keep = {check.check_id for check, _ in part.checks}
            for check in self.local.checks_of(service.id):
                if check.check_id not in keep:
                    self.remove_check(check.check_id)
        self.local.put_service(service, persist)
        for check, definition in part.checks:
            self.add_check(check, definition, persist)

    def remove_service(self, service_id: str) -> None:
        """Remove a service, its checks, and the sidecar that came with it."""
        for check in self.local.checks_of(service_id):
            self.remove_check(check.check_id)
        self.local.remove_service(service_id)
        sidecar = self.local.services.get(f"{service_id}-sidecar-proxy")
        if sidecar is not None and sidecar.proxy.destination_service_id == service_id:
            self.remove_service(sidecar.id)

    def add_check(self, check: HealthCheck, definition: CheckType, persist: bool = True) -> None:
        """Add or replace a check and run it; a check that was there keeps its status and output."""
        old = self.local.checks.get(check.check_id)
        if old is not None and not definition.status:
            check = msgspec.structs.replace(check, status=old.status, output=old.output)
        self.local.put_check(check, definition, persist)
        self.checks.add(check.check_id, definition, check.status)

    def remove_check(self, check_id: str) -> None:
        """Stop and remove a check."""
        self.checks.remove(check_id)
        self.local.remove_check(check_id)

    def _check_result(self, check_id: str, status: str, output: str) -> None:
        if self._config.discard_check_output:
            output = ""
        self.local.update_check(check_id, status, output)
        definition = self.local.definitions.get(check_id)
        check = self.local.checks.get(check_id)
        if definition is None or check is None or definition.deregister_critical_service_after <= 0:
            return
        if status != "critical":
            self._critical_since.pop(check_id, None)
            return
        since = self._critical_since.setdefault(check_id, time.monotonic())
        limit = max(60.0, definition.deregister_critical_service_after / 1e9)
        if check.service_id and time.monotonic() - since > limit:
            log.info("Check for service has been critical for too long, deregistering: %s", check.service_id)
            self._critical_since.pop(check_id, None)
            self.remove_service(check.service_id)

    def _last_output(self, check_id: str) -> str:
        check = self.local.checks.get(check_id)
        return check.output if check else ""

    def _aliased(self, check: CheckType) -> list[HealthCheck] | None:
        if check.alias_node and check.alias_node != self._config.node_name:
            return []
        if check.alias_service and check.alias_service not in self.local.services:
            return None
        found = self.local.checks_of(check.alias_service)
        return [*found, *(self.local.checks_of("") if not check.alias_service else [])]

    def maintenance(self, service_id: str, enable: bool, reason: str) -> None:
        """Take a service ("" for the node) out of discovery, or back."""
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
        self.local.put_check(check, None)

    def reload(self, config: Config) -> None:
        """Take what the files say now in place of what they said. Raises DefinitionError, JsonError."""
        self._config = config
        before, checks_before = set(self.local.from_files), set(self.local.checks_from_files)
        self.local.from_files.clear()
        self.local.checks_from_files.clear()
        self._load_from_files(config)
        for service_id in before - self.local.from_files:
            if service_id in self.local.services:
                self.remove_service(service_id)
        for check_id in checks_before - self.local.checks_from_files:
            if check_id in self.local.checks:
                self.remove_check(check_id)
