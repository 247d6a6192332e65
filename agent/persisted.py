"""What an agent's services and checks leave on its disk, so that a restart finds them.

Below the data directory: `services/`, `checks/` (definitions and rows), `checks/state/` (what TTL checks were told,
and until when that holds). A file's name is the hash of the ID, so any ID is fit for one. Files appear whole or not at
all; damaged ones are reported and left out.

A file is flushed to the disk before it takes its place, which may take the disk long. Within `deferred` that waits for
`durable`, where a thread flushes what several requests have written.
"""

import asyncio
import contextlib
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


class _Batch:
    """Files that are written but not flushed: descriptor, temporary name, final name. `done` once they are in place."""

    def __init__(self) -> None:
        self.files: list[tuple[int, str, str]] = []
        self.done: asyncio.Future[None] | None = None


class Persisted:
    """The files of one agent; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._made: set[Kind] = set()
        """The folders that are known to be there."""
        self._written: dict[str, bytes] = {}
        """By path, the hash of what was written there last."""
        self._deferring = False
        self._batch = _Batch()
        self._under_way: _Batch | None = None
        self._newest: dict[str, str] = {}
        """By path, the temporary file that is to take its place."""
        self._flusher: asyncio.Task[None] | None = None
        self._count = 0

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """What is written within (one turn of the event loop) is there only once `durable` returns."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    async def durable(self) -> None:
        """Return once all that was written is on the disk and in place. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self._batch.files:
            if self._batch.done is None:
                self._batch.done = loop.create_future()
            if self._flusher is None:
                self._flusher = loop.create_task(self._flush())
        for batch in (self._under_way, self._batch):
            if batch is not None and batch.done is not None:
                await asyncio.shield(batch.done)

    async def _flush(self) -> None:
        """Put one batch after another in place; what comes while one is flushed goes into the next."""
        try:
            while self._batch.files:
                batch, self._batch = self._batch, _Batch()
                self._under_way = batch
                done = batch.done = batch.done or asyncio.get_running_loop().create_future()
                failed: OSError | None = None
                try:
                    await asyncio.to_thread(_sync_all, batch.files)
                except OSError as error:
                    failed = error
                for _, temporary, target in batch.files:
                    try:
                        self._place(temporary, target, failed is None)
                    except OSError as error:
                        failed = error
                self._under_way = None
                if failed is None:
                    done.set_result(None)
                else:
                    log.error("cannot keep registrations: %s", failed)
                    done.set_exception(failed)
                    done.exception()  # Said above, even if nobody waits.
        finally:
            self._flusher = None

    def _place(self, temporary: str, target: str, flushed: bool) -> None:
        """Give a file its name, unless something newer was written or the thing was forgotten meanwhile."""
        newest = self._newest.get(target) == temporary
        if newest:
            del self._newest[target]
        if newest and flushed:
            os.rename(temporary, target)
            return
        if newest:
            self._written.pop(target, None)
        with contextlib.suppress(OSError):
            os.unlink(temporary)

    def write_service(self, service: NodeService, token: str = "") -> None:
        """Keep a service, and the token that it was registered with. Raises OSError."""
        sidecar = service.locally_registered_as_sidecar
        body = {"Service": service, "LocallyRegisteredAsSidecar": sidecar, "Token": token}
        self._write("services", service.id, encode_json(body), durable=True)

    def write_check(self, check: HealthCheck, definition: CheckType | None, token: str = "") -> None:
        """Keep a check, and the token that it was registered with. Raises OSError."""
        body = {"Check": check, "Definition": definition, "Token": token}
        self._write("checks", check.check_id, encode_json(body), durable=True)

    def write_state(self, check_id: str, status: str, output: str, seconds: float) -> None:
        """Keep what a TTL check was told for so long. Raises OSError."""
        body = {"CheckID": check_id, "Status": status, "Output": output, "Expires": time.time() + seconds}
        self._write("checks/state", check_id, encode_json(body), durable=False)

    def erase(self, kind: Kind, identifier: str) -> None:
        """Forget something; what is not there is no error."""
        path = self._path(kind, identifier)
        if path is not None:
            self._written.pop(str(path), None)
            self._newest.pop(str(path), None)
            path.unlink(missing_ok=True)

    def services(self) -> list[tuple[NodeService, str]]:
        """The services that were kept, with their tokens."""
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
            service = msgspec.structs.replace(service, locally_registered_as_sidecar=sidecar)
            found.append((service, _token(body)))
        return found

    def checks(self) -> list[tuple[HealthCheck, CheckType | None, str]]:
        """The checks that were kept, with their definitions (those of maintenance have none) and tokens."""
        found = []
        for path, raw in self._files("checks"):
            try:
                body = msgspec.json.decode(raw, type=dict[str, Any])
                check = decode_json(HealthCheck, msgspec.json.encode(body.get("Check")))
                definition = body.get("Definition")
                if not check.check_id:
                    raise JsonError("it has no CheckID")
                known = decode_json(CheckType, msgspec.json.encode(definition)) if definition else None
                found.append((check, known, _token(body)))
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
        target = str(path)
        written = hashlib.sha256(data).digest()
        if durable and self._written.get(target) == written and (target in self._newest or os.path.exists(target)):
            return  # A client that registers the same again and again costs the disk nothing.
        if kind not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(kind)
        self._count += 1
        temporary = f"{target}.{self._count}.tmp"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._newest.pop(target, None)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable and self._deferring:
                self._batch.files.append((descriptor, temporary, target))
                self._newest[target] = temporary
                self._written[target] = written
                return
            if durable:
                os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        os.rename(temporary, target)
        if durable:
            self._written[target] = written


def _token(body: dict[str, Any]) -> str:
    token = body.get("Token", "")
    return token if isinstance(token, str) else ""


def _sync_all(files: list[tuple[int, str, str]]) -> None:
    """Flush files and close them. Raises OSError, when all are closed."""
    failed: OSError | None = None
    for descriptor, _, _ in files:
        try:
            os.fsync(descriptor)
        except OSError as error:
            failed = error
        finally:
            os.close(descriptor)
    if failed is not None:
        raise failed
