"""The log on a real file system that is full now and then: what was acknowledged is there after the next start."""

import random
from pathlib import Path

import pytest

from server.raft.errors import DiskFull
from server.raft.log import WriteAheadLog
from server.raft.messages import Entry, HardState
from tests.support.netns import SmallDisk

SEGMENT = 256 << 10


@pytest.mark.parametrize("seed", range(6))
def test_no_flushed_entry_is_lost_when_the_disk_fills_up_anywhere(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    state = HardState(1, "a", 0)
    with SmallDisk(tmp_path / "disk", 8 << 20) as disk:
        folder = disk.folder / "log"
        log = WriteAheadLog(folder, segment_bytes=SEGMENT)
        log.load()
        kept: list[Entry] = []
        refused = 0
        for _ in range(12):
            disk.fill()
            for _ in range(chance.randint(1, 60)):
                entry = Entry(len(kept) + 1, 1, 0, chance.randbytes(chance.randint(1, 20_000)))
                try:
                    log.save(state, [entry])
                except DiskFull:
                    refused += 1
                    continue
                kept.append(entry)
            if chance.random() < 0.5:
                # As after kill -9: nobody closes the log, and the next one opens it, perhaps while there is no space.
                log = WriteAheadLog(folder, segment_bytes=SEGMENT)
                loaded = log.load()
                assert [entry.index for entry in kept] == list(range(1, loaded.log.last_index + 1))
            disk.free()
            entry = Entry(len(kept) + 1, 1, 0, b"space again")
            log.save(state, [entry])
            kept.append(entry)
            if len(kept) > 200:
                log.compact(len(kept) - 50)
        log.close()
        assert refused, "the disk was never full"
        loaded = WriteAheadLog(folder, segment_bytes=SEGMENT).load()
        first = loaded.log.first_index
        assert loaded.log.slice(first, loaded.log.last_index) == kept[first - 1 :]
