"""A disk that does what real ones do when the power goes: forgets what was not flushed, sector by sector."""

import errno
import random
import sys

from server.raft.disk import SECTOR


class PowerCut(Exception):
    """The machine went off in the middle of a call."""


class DiskError(OSError):
    """The disk reports an error, as `fsync` may."""


class SimulatedFile:
    """`durable` is on the platter, `cached` what a reader sees; `dirty` the sectors in which they may differ."""

    def __init__(self, folder: "SimulatedFolder") -> None:
        self.folder = folder
        self.durable = bytearray()
        self.cached = bytearray()
        self.dirty: set[int] = set()
        self.cut = sys.maxsize

    def write(self, data: bytes, offset: int) -> None:
        self.folder.check_space()
        end = offset + len(data)
        if len(self.cached) < end:
            self.cached.extend(bytes(end - len(self.cached)))
        self.cached[offset:end] = data
        self.dirty.update(range(offset // SECTOR, (end - 1) // SECTOR + 1))

    def sync(self) -> None:
        self.folder.check_sync()
        if self.folder.syncs:
            self._flush(self.dirty)
            self.dirty = set()

    def _flush(self, sectors: set[int]) -> None:
        """These sectors of the cache reach the platter."""
        del self.durable[self.cut :]
        self.cut = sys.maxsize
        for sector in sectors:
            start = sector * SECTOR
            piece = self.cached[start : start + SECTOR]
            if len(self.durable) < start:
                self.durable.extend(bytes(start - len(self.durable)))
            self.durable[start : start + len(piece)] = piece

    def truncate(self, size: int) -> None:
        del self.cached[size:]
        self.dirty = {sector for sector in self.dirty if sector * SECTOR < size}
        self.cut = min(self.cut, size)

    def allocate(self, size: int) -> None:
        """Nothing: the file grows as it is written, which leaves torn ends beyond its size too."""

    def close(self) -> None:
        """Nothing."""

    def lose_power(self) -> None:
        """Of what was not flushed, some sectors got there and some did not."""
        if self.folder.dice.random() < 0.5:
            self.cut = sys.maxsize  # Nor need a truncation have got there.
        self._flush({sector for sector in self.dirty if self.folder.dice.random() < 0.5})
        self.cached = bytearray(self.durable)
        self.dirty = set()


class SimulatedFolder:
    """Implements `server.raft.disk.Folder`. Faults come from `dice`; the probabilities are attributes."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.files: dict[str, SimulatedFile] = {}
        self.durable_files: dict[str, SimulatedFile] = {}
        self.cut_at_sync = 0.0
        self.error_at_sync = 0.0
        self.full = False
        self.syncs = True
        """Set to False by a mutant: flushing does nothing."""

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return bytes(self.files[name].cached)

    def open(self, name: str) -> SimulatedFile:
        return self.files[name]

    def create(self, name: str) -> SimulatedFile:
        self.check_space()
        assert name not in self.files
        file = self.files[name] = SimulatedFile(self)
        return file

    def delete(self, name: str) -> None:
        self.files.pop(name, None)

    def sync(self) -> None:
        self.durable_files = dict(self.files)

    def shown(self, name: str) -> str:
        return f"disk/{name}"

    def check_space(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def check_sync(self) -> None:
        if self.dice.random() < self.cut_at_sync:
            raise PowerCut
        if self.dice.random() < self.error_at_sync:
            raise DiskError(errno.EIO, "Input/output error")

    def lose_power(self) -> None:
        """The machine goes off: what was made durable stays, of the rest any part may."""
        files = dict(self.durable_files)
        for name, file in self.files.items():
            if name not in files and self.dice.random() < 0.5:
                files[name] = file
        for name in list(files):
            if name not in self.files and self.dice.random() < 0.5:
                del files[name]
        for file in files.values():
            file.lose_power()
        self.files = files
        self.durable_files = dict(files)

    def rot(self) -> bool:
        """Flip a bit somewhere in what is there. Returns whether there was anything."""
        candidates = [file for file in self.files.values() if any(file.durable)]
        if not candidates:
            return False
        file = self.dice.choice(candidates)
        place = self.dice.randrange(len(file.durable))
        file.durable[place] ^= 1 << self.dice.randrange(8)
        file.cached = bytearray(file.durable)
        return True

