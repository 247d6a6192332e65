"""Docker checks: a program run inside a container through the engine's HTTP API; its exit code is the status."""

import asyncio
import os
import shlex
import ssl
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from agent.checks.probe import Result, Tail, Tools, timeout_of
from agent.checks.script import SCRIPT_TIMEOUT, STATUS_OF
from agent.checks.thresholds import CRITICAL
from model.durations import SECOND
from model.goerrors import dial_text, system_text, tls_text
from model.structs.catalog import CheckType

DEFAULT_HOST = "unix:///var/run/docker.sock"
MAX_ANSWER = 1 << 20
"""Bytes of a JSON answer."""
MAX_OUTPUT = 16 << 20
"""Bytes that a program may print before it is left alone."""


class DockerError(Exception):
    """The engine cannot be reached, or refuses; the text is the check's output."""


class Demultiplexer:
    """Takes the engine's stream of standard output and error apart. Pure.

    Each frame has 8 bytes of header: which of the two, three zeros, the length as 4 bytes, big end first.
    """

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The payloads in the next piece of the stream."""
        found = bytearray()
        while data:
            if self._left:
                found += data[: self._left]
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                continue
            need = 8 - len(self._head)
            self._head, data = self._head + data[:need], data[need:]
            if len(self._head) == 8:
                self._left = int.from_bytes(self._head[4:], "big")
                self._head = b""
        return bytes(found)


def command_of(check: CheckType) -> list[str]:
    """What to run: the arguments as they are, or by the check's shell when it names one."""
    arguments = list(check.script_args or ())
    if not check.shell:
        return arguments
    return [check.shell, "-c", arguments[0] if len(arguments) == 1 else shlex.join(arguments)]


async def probe_docker(check: CheckType, tools: Tools) -> Result:
    """Run a Docker check once."""
    output = Tail(tools.limit_of(check))
    try:
        async with asyncio.timeout(timeout_of(check, SCRIPT_TIMEOUT / SECOND)), _Engine() as engine:
            code = await engine.run(check.docker_container_id, command_of(check), output)
    except TimeoutError:
        return CRITICAL, f"Docker exec in container {check.docker_container_id} timed out"
    except DockerError as error:
        return CRITICAL, str(error)
    return STATUS_OF.get(code, CRITICAL), output.captured()


class _Engine:
    """The engine that `DOCKER_HOST` names, for the time of one check."""

    def __init__(self) -> None:
        self._host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> "_Engine":
        kind, _, rest = self._host.partition("://")
        connector: aiohttp.BaseConnector
        if kind == "unix":
            connector, self._base = aiohttp.UnixConnector(rest, force_close=True), "http://docker"
        elif kind in ("tcp", "http", "https"):
            context = _client_tls(kind)
            connector = aiohttp.TCPConnector(force_close=True, ssl=context or True)
            self._base = f"{'https' if context else 'http'}://{rest.rstrip('/')}"
        else:
            raise DockerError(f"invalid docker host: {self._host}")
        self._session = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def run(self, container: str, command: list[str], output: Tail) -> int:
        """The exit code of a command in a container. Raises DockerError."""
        shown = f'"{container}"'
        options = {"AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "Tty": False, "Cmd": command}
        failures = {
            404: f"create exec failed for unknown container {shown}",
            409: f"create exec failed since container {shown} is paused or stopped",
        }
        path = f"/containers/{quote(container, safe='')}/exec"
        made = await self._json("POST", path, 201, f"create exec failed for container {shown}", failures, options)
        exec_id = str(made.get("Id", ""))
        if not exec_id:
            raise DockerError(f"create exec failed for container {shown}: the engine gave no exec id")
        await self._start(exec_id, shown, output)
        failed = f"inspect exec failed for container {shown}"
        failures = {404: f'{failed}: invalid exec id "{exec_id}"'}
        state = await self._json("GET", f"/exec/{quote(exec_id, safe='')}/json", 200, failed, failures)
        code = state.get("ExitCode")
        if state.get("Running") or not isinstance(code, int):
            raise DockerError(f"{failed}: the program has not ended")
        return code

    async def _start(self, exec_id: str, shown: str, output: Tail) -> None:
        failed = f"start exec failed for container {shown}"
        frames = Demultiplexer()
        path = f"/exec/{quote(exec_id, safe='')}/start"
        try:
            async with self._session.post(self._base + path, json={"Detach": False, "Tty": False}) as response:
                if response.status == 404:
                    raise DockerError(f'{failed}: invalid exec id "{exec_id}"')
                if response.status == 409:
                    raise DockerError(f"start exec failed since container {shown} is paused or stopped")
                if response.status not in (101, 200):
                    raise DockerError(f"{failed} with status {response.status}: {await _said(response)}")
                received = 0
                async for chunk in response.content.iter_any():
                    output.write(frames.feed(chunk))
                    received += len(chunk)
                    if received > MAX_OUTPUT:
                        raise DockerError(f"{failed}: the program prints more than {MAX_OUTPUT} bytes")
        except (aiohttp.ClientError, OSError) as error:
            raise DockerError(f"{failed}: {self._reason(error)}") from None

    async def _json(
        self, method: str, path: str, good: int, failed: str, failures: dict[int, str], body: Any = None
    ) -> dict[str, Any]:
        try:
            async with self._session.request(method, self._base + path, json=body) as response:
                if response.status in failures:
                    raise DockerError(failures[response.status])
                if response.status != good:
                    raise DockerError(f"{failed} with status {response.status}: {await _said(response)}")
                answer = _parsed(await _start_of(response, MAX_ANSWER))
        except (aiohttp.ClientError, OSError) as error:
            raise DockerError(f"{failed}: {self._reason(error)}") from None
        if not isinstance(answer, dict):
            raise DockerError(f"{failed}: the engine's answer is not what it should be")
        return answer

    def _reason(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientConnectorError):
            inner = error.os_error
            if isinstance(inner, ssl.SSLError):
                return tls_text(inner)
            kind, _, rest = self._host.partition("://")
            return dial_text("unix" if kind == "unix" else "tcp", rest, inner)
        return "EOF" if isinstance(error, aiohttp.ServerDisconnectedError) else system_text(error)


async def _start_of(response: aiohttp.ClientResponse, limit: int) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) >= limit:
            break
    return bytes(found[:limit])


async def _said(response: aiohttp.ClientResponse) -> str:
    return (await _start_of(response, 512)).decode("utf-8", "replace").strip()


def _parsed(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _client_tls(kind: str) -> ssl.SSLContext | None:
    """TLS as Docker's own client takes it from the environment; None where it is not asked for."""
    folder = os.environ.get("DOCKER_CERT_PATH", "")
    if kind != "https" and not os.environ.get("DOCKER_TLS_VERIFY") and not folder:
        return None
    try:
        context = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem") if folder else None)
        if folder:
            context.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    except OSError as error:
        raise DockerError(f"docker: DOCKER_CERT_PATH {folder}: {system_text(error)}") from None
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
