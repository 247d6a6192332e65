"""What a server knows when it starts: its log, its newest snapshot, and the members that follow from both."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from server.raft import messages as m
from server.raft.entries import EntryLog
from server.raft.errors import CorruptLog
from server.raft.log_writer import LogWriter
from server.raft.messages import Configuration, HardState
from server.raft.node_config import StateMachine
from server.raft.recovery import rebuild
from server.raft.snapshot import Snapshots, StoredSnapshot

log = logging.getLogger("lictor.raft")


class Opened(NamedTuple):
    """What the disk had. `base`: the members according to the snapshot alone, and that configuration's index."""

    log: EntryLog
    hard_state: HardState
    configuration: Configuration
    configuration_index: int
    base: tuple[Configuration, int]
    snapshot_index: int
    snapshot_term: int


async def open_state(
    writer: LogWriter, snapshots: Snapshots, fsm: StateMachine, recover_with: Configuration | None
) -> Opened:
    """Read the disk and fill the state machine; with `recover_with`, with these members in place of the known ones.

    Raises:
        CorruptLog: the log or the newest snapshot is damaged.
        ConfigurationError: there is no state to recover.
    """

    def load() -> tuple[Any, StoredSnapshot | None]:
        return writer.storage.load(), snapshots.latest()

    loaded, stored = await writer.run(load)
    for remark in loaded.remarks:
        log.warning("raft log: %s", remark)
    configuration, configuration_index = Configuration(), 0
    index, term = 0, 0
    if stored is not None:
        with snapshots.open(stored) as source:
            fsm.use(fsm.decode(source))
        index, term = stored.meta.index, stored.meta.term
        configuration, configuration_index = stored.meta.configuration, stored.meta.configuration_index
        if not loaded.log.matches(index, term) and loaded.log.base_index <= index:
            # Power went after the snapshot of another server was kept and before the log was begun anew.
            loaded.log.reset(index, term)
            await writer.run(writer.storage.reset, loaded.hard_state, index, term)
    if loaded.log.base_index > index:
        raise CorruptLog(
            f"the raft log begins after entry {loaded.log.base_index}, but the newest snapshot ends at {index}"
        )
    base = configuration, configuration_index
    for entry in loaded.log.slice(loaded.log.first_index, loaded.log.last_index):
        if entry.kind == m.CONFIGURATION and entry.index > configuration_index:
            configuration, configuration_index = m.decode_configuration(entry.data), entry.index
    if recover_with is not None:
        loaded, stored = rebuild(loaded, index, recover_with, fsm, writer.storage, snapshots)
        index, term = stored.meta.index, stored.meta.term
        configuration, configuration_index = recover_with, index
    return Opened(loaded.log, loaded.hard_state, configuration, configuration_index, base, index, term)
