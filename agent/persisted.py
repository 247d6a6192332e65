"""What an agent's services and checks leave on its disk, so that a restart finds them.

Below the data directory: `services/`, `checks/` (definitions and rows), `checks/state/` (what TTL checks were told,
and until when that holds). A file's name is the hash of the ID, so any ID is fit for one. Files appear whole or not at
all; damaged ones are reported and left out.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from model.gojson import JsonError, decode_json, encode_json
from model.structs.catalog import CheckType, HealthCheck, NodeService

log = logging.getLogger("lictor.agent")

Kind = Literal["services", "checks", "checks/state"]


class CheckState(NamedTuple):
    """What a TTL check was told, and for how many seconds that still holds."""

    status: str
    output: str
    left: float


class Persisted:
    """The files of one agent; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write_service(self, service: NodeService) -> None:
        """Keep a service. Raises OSError."""
        body = {"Service": service, "LocallyRegisteredAsSidecar": service.locally_registered_as_sidecar}
        self._write("services", service.id, encode_json(body), durable=True)

    def write_check(self, check: HealthCheck, definition: CheckType | None) -> None:
        """Keep a check. Raises OSError."""
        body = {"Check": check, "Definition": definition}
        self._write("checks", check.check_id, encode_json(body), durable=True)

    def write_state(self, check_id: str, status: str, output: str, seconds: float) -> None:
        """Keep what a TTL check was told for so long. Raises OSError."""
        body = {"CheckID": check_id, "Status": status, "Output": output, "Expires": time.time() + seconds}
        self._write("checks/state", check_id, encode_json(body), durable=False)

    def erase(self, kind: Kind, identifier: str) -> None:
        """Forget something; what is not there is no error."""
        path = self._path(kind, identifier)
        if path is not None:
            path.unlink(missing_ok=True)

    def services(self) -> list[NodeService]:
        """The services that were kept."""
        found = []
        for path, raw in self._files("services"):
            try:
                body = msgspec.json.decode(raw, type=dict[str, Any])
                service = decode_json(NodeService, msgspec.json.encode(body.get("Service", {})))
                if not service.id:
                    raise JsonError("it has no ID")
            except (JsonError, msgspec.DecodeError) as error:
                log.error("cannot load the service in %s: %s", path, error)
                continue
            sidecar = bool(body.get("LocallyRegisteredAsSidecar"))
            found.append(msgspec.structs.replace(service, locally_registered_as_sidecar=sidecar))
        return found

    def checks(self) -> list[tuple[HealthCheck, CheckType | None]]:
        """The checks that were kept, with their definitions; those of maintenance have none."""
        found = []
        for path, raw in self._files("checks"):
            try:
                body = msgspec.json.decode(raw, type=dict[str, Any])
                check = decode_json(HealthCheck, msgspec.json.encode(body.get("Check")))
                definition = body.get("Definition")
                if not check.check_id:
                    raise JsonError("it has no CheckID")
                found.append((check, decode_json(CheckType, msgspec.json.encode(definition)) if definition else None))
            except (JsonError, msgspec.DecodeError) as error:
                log.error("cannot load the check in %s: %s", path, error)
        return found

    def state(self, check_id: str) -> CheckState | None:
        """What a TTL check was told before the restart, unless its time has run out since."""
        path = self._path("checks/state", check_id)
        if path is None or not path.exists():
            return None
        try:
            body = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            left = float(body["Expires"]) - time.time()
            state = CheckState(str(body["Status"]), str(body["Output"]), left)
        except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            log.error("cannot load the state of check %s in %s: %s", check_id, path, error)
            return None
        if left <= 0 or state.status not in ("passing", "warning", "critical"):
            path.unlink(missing_ok=True)
            return None
        return state

    def _files(self, kind: Kind) -> Iterator[tuple[Path, bytes]]:
        if self._folder is None:
            return
        for path in sorted((self._folder / kind).glob("*")):
            if path.suffix == ".tmp":
                path.unlink(missing_ok=True)
            elif path.is_file():
                try:
                    yield path, path.read_bytes()
                except OSError as error:
                    log.error("cannot read %s: %s", path, error)

    def _path(self, kind: Kind, identifier: str) -> Path | None:
        if self._folder is None:
            return None
        name = hashlib.sha256(identifier.encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / kind / name

    def _write(self, kind: Kind, identifier: str, data: bytes, durable: bool) -> None:
        path = self._path(kind, identifier)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
