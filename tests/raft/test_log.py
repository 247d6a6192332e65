"""The write-ahead log: what was flushed is there again, a torn end is cut off, other damage is refused."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.raft.disk import SECTOR, PosixFile, PosixFolder
from server.raft.errors import CorruptLog, DiskFull
from server.raft.log import HEADER, WriteAheadLog
from server.raft.messages import Entry, HardState


def entries(first: int, count: int, term: int = 1) -> list[Entry]:
    return [Entry(index, term, 0, b"x" * 20) for index in range(first, first + count)]


def opened(folder: Path, **options: int) -> WriteAheadLog:
    log = WriteAheadLog(folder, **options)
    log.load()
    return log


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wal"))


def test_everything_comes_back(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.save(HardState(1, "a", 0), entries(1, 3))
    log.save(None, entries(4, 2))
    log.save(HardState(2, "b", 3), entries(4, 1, term=2))
    log.close()
    loaded = WriteAheadLog(tmp_path).load()
    assert loaded.hard_state == HardState(2, "b", 3)
    assert loaded.log.last_index == 4
    assert loaded.log.term(4) == 2 and loaded.log.term(3) == 1


def test_segments_roll_and_go(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=400)
    for index in range(1, 40):
        log.save(HardState(1, "a", index - 1), entries(index, 1))
    before = len(segments(tmp_path))
    assert before > 3
    log.compact(20)
    assert len(segments(tmp_path)) < before
    log.close()
    loaded = WriteAheadLog(tmp_path, segment_bytes=400).load()
    assert loaded.log.last_index == 39
    assert 1 < loaded.log.first_index <= 21
    assert loaded.hard_state == HardState(1, "a", 38)


def test_a_reset_forgets(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.save(HardState(1, "a", 0), entries(1, 9))
    log.reset(HardState(3, "", 50), 50, 2)
    log.save(None, entries(51, 1, term=3))
    log.close()
    loaded = WriteAheadLog(tmp_path).load()
    assert (loaded.log.base_index, loaded.log.base_term, loaded.log.last_index) == (50, 2, 51)


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 4000))
def test_a_torn_write_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("wal")
    log = opened(folder)
    log.save(HardState(1, "a", 0), entries(1, 3))
    durable = log._offset
    log.save(None, entries(4, 80))
    end = log._offset
    log.close()
    path = segments(folder)[-1]
    data = path.read_bytes()
    keep = max(durable, (end - cut) // SECTOR * SECTOR)
    path.write_bytes(data[:keep] + b"\0" * (len(data) - keep))
    loaded = WriteAheadLog(folder).load()
    assert loaded.log.last_index == 3
    again = WriteAheadLog(folder).load()
    assert again.log.last_index == 3 and not again.remarks


def test_damage_in_the_middle_is_refused_with_file_and_offset(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.save(HardState(1, "a", 0), entries(1, 3))
    at = log._offset
    log.save(None, entries(4, 3))
    log.save(None, entries(7, 3))
    log.close()
    path = segments(tmp_path)[-1]
    data = bytearray(path.read_bytes())
    data[at + 20] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match=rf"{path.name}: damaged at offset {at}"):
        WriteAheadLog(tmp_path).load()


def test_a_foreign_file_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000000.wal").write_bytes(b"hello, this is no log")
    with pytest.raises(CorruptLog, match="not a segment"):
        WriteAheadLog(tmp_path).load()
    (tmp_path / "00000000000000000000.wal").write_bytes(HEADER[:7] + b"\x09")
    with pytest.raises(CorruptLog, match="version 9"):
        WriteAheadLog(tmp_path).load()


def test_a_full_disk_loses_nothing_and_recovers(tmp_path: Path) -> None:
    full = False

    def sync(fd: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.fdatasync(fd)

    log = WriteAheadLog(PosixFolder(tmp_path, sync))
    log.load()
    log.save(HardState(1, "a", 0), entries(1, 3))
    full = True
    with pytest.raises(DiskFull):
        log.save(None, entries(4, 3))
    full = False
    log.save(None, entries(4, 1))
    log.close()
    assert WriteAheadLog(tmp_path).load().log.last_index == 4


def test_damage_in_the_last_write_is_told_from_a_torn_one(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.save(HardState(1, "a", 0), entries(1, 3))
    at = log._offset
    log.save(None, entries(4, 80))
    end = log._offset
    log.close()
    path = segments(tmp_path)[-1]
    data = path.read_bytes()
    for place in (at, at + 5, at + 14, at + 30, end - 1):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(CorruptLog, match=f"damaged at offset {at}, in the last write.*operator raft recover"):
            WriteAheadLog(tmp_path).load()


def test_segments_stay_in_order_over_restarts_and_compaction(tmp_path: Path) -> None:
    index = 0
    for start in range(1, 6):
        log = opened(tmp_path, segment_bytes=400)
        for _ in range(40):
            index += 1
            log.save(HardState(start, "a", index - 1), entries(index, 1, term=start))
        log.compact(index - 10)
        log.close()
    loaded = WriteAheadLog(tmp_path, segment_bytes=400).load()
    assert loaded.log.last_index == index
    assert loaded.hard_state == HardState(5, "a", index - 1)


def test_a_full_disk_at_the_end_of_a_segment_fails_no_write(tmp_path: Path) -> None:
    class Full(PosixFolder):
        full = False

        def create(self, name: str) -> PosixFile:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().create(name)

    folder = Full(tmp_path)
    log = WriteAheadLog(folder, segment_bytes=400)
    log.load()
    log.save(HardState(7, "me", 0), entries(1, 1))
    folder.full = True
    for index in range(2, 40):
        log.save(None, entries(index, 1))
    assert len(segments(tmp_path)) == 1
    folder.full = False
    for index in range(40, 90):
        log.save(None, entries(index, 1))
    log.compact(80)
    log.close()
    loaded = WriteAheadLog(tmp_path, segment_bytes=400).load()
    assert loaded.hard_state == HardState(7, "me", 0)
    assert loaded.log.last_index == 89


def test_the_hard_state_survives_a_power_cut_while_a_segment_begins(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=400)
    for index in range(1, 30):
        log.save(HardState(9, "them", 0) if index == 1 else None, entries(index, 1))
    log.close()
    (tmp_path / "00000000000000000099.wal").write_bytes(b"")
    log = opened(tmp_path, segment_bytes=400)
    log.save(None, entries(30, 1))
    log.compact(30)
    log.close()
    assert [path.name for path in segments(tmp_path)] == ["00000000000000000099.wal"]
    assert WriteAheadLog(tmp_path).load().hard_state == HardState(9, "them", 0)
