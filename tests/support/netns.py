"""Hosts in network namespaces, and what can go wrong between them.

A `Network` is a bridge in a namespace of its own; every `Host` is a namespace with one address on it. `Network.inside`
moves the calling thread into a host: sockets that it makes and processes that it starts there belong to that host.
Faults are set at a host and hold for what it exchanges with the named others, so that a client on a further host
still reaches a server that the other servers do not:

- `cut` drops packets to others, from them, or both (nftables);
- `lose` drops a share of what arrives from them, at random (nftables' `numgen random`);
- `delay` holds back everything that the host sends (`tc netem`, or `delay_relay.py` where the kernel lacks it).

An `Island` is a namespace alone, without bridge and hosts.

Names carry the process's number, so that runs do not meet; what a killed run left behind is removed by the next one.
Needs root, iproute2 and nftables; `network` skips a test where they are missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.support.tools import lacking, need_program, need_root

PREFIX: Final = "lictor"
SUBNET: Final = "10.213.7"
CLONE_NEWNET: Final = 0x40000000
_RELAY: Final = Path(__file__).with_name("delay_relay.py")
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def _run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _enter(handle: int) -> None:
    if _libc.setns(handle, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


@contextlib.contextmanager
def _inside(handle: int) -> Iterator[None]:
    before = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(handle)
        try:
            yield
        finally:
            _enter(before)
    finally:
        os.close(before)


class Island:
    """A namespace with nothing but a loopback, for what must not reach anything else; a context manager."""

    def __enter__(self) -> Island:
        need_root()
        need_program("ip")
        own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        before = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.unshare(CLONE_NEWNET):
                lacking(f"cannot make network namespaces here: {os.strerror(ctypes.get_errno())}")
            try:
                self._handle = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
                _run("ip", "link", "set", "lo", "up")
            finally:
                _enter(before)
        finally:
            os.close(before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let the calling thread be there; sockets and processes that it makes stay there."""
        with _inside(self._handle):
            yield


@functools.cache
def _may_make() -> bool:
    """Whether this process may make namespaces."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def ports_of_its_own() -> Iterator[None]:
    """Let the calling thread be where nobody else's ports are, if this machine allows that; else where it is.

    For programs that look for free ports themselves: what is free when they look may be another's when they use it.
    """
    if not _may_make():
        yield
        return
    with Island() as island, island.inside():
        yield


class Host:
    """One host: a namespace, its address, and the faults that are set on it."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.network = network
        self.name = name
        self.namespace = f"{network.token}-{name}"
        self.address = f"{SUBNET}.{number}"
        self.port = f"port{number}"
        self._number = number
        self._rules: list[str] = []
        self._relay: subprocess.Popen[bytes] | None = None
        self._netem = False
        _run("ip", "netns", "add", self.namespace)
        network.undo.callback(_run, "ip", "netns", "delete", self.namespace)
        hub = network.hub
        _run(
            *("ip", "link", "add", self.port, "netns", hub, "type", "veth", "peer", "name", "eth0"),
            "netns",
            self.namespace,
        )
        _run("ip", "-n", hub, "link", "set", self.port, "master", "bridge", "up")
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        _run("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        self._handle = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        network.undo.callback(os.close, self._handle)
        network.undo.callback(self.heal)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let the calling thread be on this host; not to be used around an `await`."""
        with _inside(self._handle):
            yield

    def cut(self, others: Iterable[Host], *, incoming: bool = True, outgoing: bool = True) -> None:
        """Drop what comes from others, what goes to them, or both."""
        for other in others:
            if incoming:
                self._rules.append(f"add rule inet faults incoming ip saddr {other.address} drop")
            if outgoing:
                self._rules.append(f"add rule inet faults outgoing ip daddr {other.address} drop")
        self._filter()

    def lose(self, others: Iterable[Host], percent: int) -> None:
        """Drop that share of the packets that arrive from others."""
        for other in others:
            where = f"add rule inet faults incoming ip saddr {other.address}"
            self._rules.append(f"{where} numgen random mod 100 < {percent} drop")
        self._filter()

    def delay(self, seconds: float) -> str:
        """Hold back everything that this host sends; returns by what means."""
        milliseconds = f"{round(seconds * 1000)}"
        with contextlib.suppress(OSError), self.inside():
            _run("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{milliseconds}ms", "limit", "100000")
            self._netem = True
            return "netem"
        # A second cable from the hub's port to the bridge, and a relay that waits in between.
        hub, near, far = self.network.hub, f"near{self._number}", f"far{self._number}"
        ip = ("ip", "-n", hub, "link")
        _run(*ip, "add", near, "type", "veth", "peer", "name", far)
        _run(*ip, "set", far, "master", "bridge", "up")
        _run(*ip, "set", near, "up")
        _run(*ip, "set", self.port, "nomaster")
        with self.network.inside_hub():
            self._relay = subprocess.Popen(
                [sys.executable, "-S", str(_RELAY), self.port, near, milliseconds], stdin=subprocess.DEVNULL
            )
        return "relay"

    def heal(self) -> None:
        """Take all faults away."""
        if self._rules:
            self._rules.clear()
            self._filter()
        if self._netem:
            self._netem = False
            with self.inside():
                _run("tc", "qdisc", "delete", "dev", "eth0", "root")
        if self._relay is not None:
            relay, self._relay = self._relay, None
            ended_early = relay.poll()
            relay.send_signal(signal.SIGKILL)
            relay.wait()
            _run("ip", "-n", self.network.hub, "link", "delete", f"near{self._number}")
            _run("ip", "-n", self.network.hub, "link", "set", self.port, "master", "bridge")
            if ended_early is not None:
                raise OSError(f"the delaying relay ended by itself with {ended_early}")

    def _filter(self) -> None:
        lines = ["add table inet faults", "delete table inet faults"]
        if self._rules:
            lines.append("add table inet faults")
            for chain, hook in (("incoming", "input"), ("outgoing", "output")):
                lines.append(f"add chain inet faults {chain} {{ type filter hook {hook} priority 0; }}")
            lines += self._rules
        with self.inside():
            _run(self.network.nft, "-f", "-", text="\n".join(lines) + "\n")


class Network:
    """A bridge with hosts around it; a context manager that removes all of it."""

    def __init__(self) -> None:
        need_root()
        need_program("ip")
        self.nft = need_program("nft")
        sweep()
        self.token = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        self.hub = f"{self.token}-hub"
        self.hosts: dict[str, Host] = {}
        self.undo = contextlib.ExitStack()

    def __enter__(self) -> Network:
        try:
            _run("ip", "netns", "add", self.hub)
        except OSError as error:
            lacking(f"cannot make network namespaces here: {error}")
        self.undo.callback(_run, "ip", "netns", "delete", self.hub)
        try:
            try:
                _run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
                _run("ip", "-n", self.hub, "link", "set", "bridge", "up")
            except OSError as error:
                lacking(f"cannot make a bridge here: {error}")
            self._handle = os.open(f"/run/netns/{self.hub}", os.O_RDONLY | os.O_CLOEXEC)
            self.undo.callback(os.close, self._handle)
        except BaseException:
            self.undo.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo.close()

    def host(self, name: str) -> Host:
        """A new host."""
        made = self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        return made

    @contextlib.contextmanager
    def inside_hub(self) -> Iterator[None]:
        """Let the calling thread be where the bridge is."""
        with _inside(self._handle):
            yield

    def heal(self) -> None:
        """Take all faults of all hosts away."""
        for host in self.hosts.values():
            host.heal()


def sweep() -> None:
    """Remove the namespaces of runs whose process is gone."""
    folder = Path("/run/netns")
    for path in folder.glob(f"{PREFIX}-*-*") if folder.exists() else ():
        number = path.name.split("-")[1]
        if number.isdigit() and not Path("/proc", number).exists():
            with contextlib.suppress(OSError):
                _run("ip", "netns", "delete", path.name)


class SmallDisk:
    """A file system of its own with little space, which can be filled and freed again."""

    def __init__(self, folder: Path, size: int) -> None:
        need_root()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._size = size
        self._filler = folder / "filler"

    def __enter__(self) -> SmallDisk:
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder))
        except OSError as error:
            lacking(f"cannot mount a small file system here: {error}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "-l", str(self.folder))

    def fill(self) -> int:
        """Use up all space; returns how many bytes that took."""
        taken = 0
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                taken += file.write(bytes(65536))
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                taken += file.write(bytes(512))
        return taken

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)
