"""Committed entries on their way into the state machine, and their results to whoever waits for them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from model.metrics import METRICS
from server.raft import messages as m
from server.raft.core import Raft
from server.raft.messages import Entry
from server.raft.node_config import StateMachine
from server.raft.pieces import Assembler
from server.raft.snapshotting import Snapshotting
from server.raft.waiting import Waiting

_APPLY_TIMES = METRICS.sample("raft.fsm.apply")

SLICE = 0.005
"""Seconds of applying after which other tasks get a turn."""


class Applier:
    """Applies entries in order, and says so to `waiting` and `snapshotting`."""

    def __init__(
        self, fsm: StateMachine, assembler: Assembler, waiting: Waiting, snapshotting: Snapshotting
    ) -> None:
        self._fsm = fsm
        self._assembler = assembler
        self._waiting = waiting
        self._snapshotting = snapshotting

    async def apply(self, core: Raft, entries: list[Entry]) -> None:
        """Apply entries that the core says are committed."""
        clock = time.perf_counter
        turn_ends = clock() + SLICE
        for entry in entries:
            result: Any = None
            error: Exception | None = None
            if entry.kind == m.COMMAND:
                self._snapshotting.applied(len(entry.data))
                began = clock()
                try:
                    result = self._fsm.apply(entry.index, entry.term, entry.data)
                    _APPLY_TIMES.add((clock() - began) * 1000.0)
                except Exception as raised:  # Deterministic, so the same on every server: it is the command's result.
                    error = raised
            elif entry.kind == m.PIECE:
                self._snapshotting.applied(len(entry.data))
                try:
                    result = await self._apply_piece(entry)
                except Exception as raised:
                    error = raised
            elif entry.kind == m.NOOP:
                self._assembler.clear()
            core.applied = entry.index
            self._waiting.applied(entry, result, error)
            if clock() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = clock() + SLICE
        if entries:
            self._waiting.reached(core.applied)
            self._snapshotting.consider()

    async def _apply_piece(self, entry: Entry) -> Any:
        whole = self._assembler.add(entry.data)
        if whole is None:
            return None
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._fsm.prepare, whole)
            return self._fsm.apply(entry.index, entry.term, whole)
        finally:
            self._assembler.clear()  # Not earlier: a snapshot taken meanwhile would lack the command's beginning.
