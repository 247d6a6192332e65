"""Whether a history of operations on one register could have come from a single copy of it: linearizability, decided.

An operation has the time of its call and that of its return; it took effect at one moment between the two. `check`
looks for moments that explain every answer. The search is Wing and Gong's, with Lowe's memory of the configurations
that were tried (operations done, state of the register); histories of several keys are checked key by key, which is the
same as checking them together (Herlihy and Wing: linearizability is local).

An operation whose outcome nobody knows (a time-out, a lost connection) may have taken effect at any moment after its
call, or never. Two things keep such operations from blowing up the search:

- Its value was seen later: then it did take effect, before the earliest return of whoever saw it. It is an ordinary
  operation with that return. (This needs values that are written only once, which `check` insists on.)
- Its value was never seen: then all it can explain is a cas that was refused although the register seemed to hold what
  the cas asked for. Such operations are interchangeable but for their calls, so they are only counted.

The register's index (Consul's ModifyIndex) rises with every change. It is known for the values that were read, and
those must take effect in its order.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

ABSENT: Final = None
"""What a read of a key that is not there returns; its index is 0."""
_UNSEEN: Final = "\0a value that nobody saw"
DEFAULT_LIMIT: Final = 3_000_000


class NotLinearizableError(AssertionError):
    """No order of the operations explains their answers; the text shows where the search got stuck."""


class UndecidedError(AssertionError):
    """The search tried more configurations than allowed."""


@dataclass(frozen=True)
class Write:
    """A write without conditions. `returned` None: nobody knows whether it took effect."""

    call: float
    returned: float | None
    value: str


@dataclass(frozen=True)
class Cas:
    """A write that is to happen only while the index is `expected` (0: while the key is absent).

    `done` is the answer; `returned` None (with `done` None): nobody knows.
    """

    call: float
    returned: float | None
    expected: int
    value: str
    done: bool | None


@dataclass(frozen=True)
class Read:
    """A consistent read that returned a value and its index; reads without an answer say nothing and are left out."""

    call: float
    returned: float
    value: str | None
    index: int


Operation = Write | Cas | Read


def check_keys(histories: Mapping[str, Sequence[Operation]], limit: int = DEFAULT_LIMIT) -> int:
    """Check each key's history; returns the number of configurations tried. Raises as `check`."""
    tried = 0
    for key, history in sorted(histories.items()):
        try:
            tried += check(history, limit)
        except NotLinearizableError as error:
            raise NotLinearizableError(f"key {key}: {error}") from None
    return tried


def check(history: Sequence[Operation], limit: int = DEFAULT_LIMIT) -> int:
    """Return how many configurations were tried to find an order that explains the history.

    Raises:
        NotLinearizableError: there is none.
        UndecidedError: more than `limit` configurations were tried.
        ValueError: the history is no history (a value written twice, a return before the call, an index from nowhere).
    """
    return _Search(_prepare(history), limit).run()


@dataclass(frozen=True)
class _Step:
    """An operation that did take effect, or was answered, between `call` and `end`."""

    call: float
    end: float
    operation: Operation


@dataclass(frozen=True)
class _Prepared:
    steps: list[_Step]
    index_of: dict[str, int]
    value_of: dict[int, str | None]
    unseen_writes: list[float]
    unseen_cas: dict[int, list[float]]


def _prepare(history: Sequence[Operation]) -> _Prepared:
    writers = _writers(history)
    index_of, value_of = _indexes(history, writers)
    for operation in history:
        if operation.returned is not None and operation.returned < operation.call:
            raise ValueError(f"returned before it was called: {operation}")
        if isinstance(operation, Cas) and operation.expected not in value_of:
            raise ValueError(f"no read of this history returned the index that this cas asks for: {operation}")
    ends = _ends(history, writers, value_of)
    steps: list[_Step] = []
    unseen_writes: list[float] = []
    unseen_cas: dict[int, list[float]] = {}
    for number, operation in enumerate(history):
        end = ends[number]
        if end < math.inf:
            steps.append(_Step(operation.call, end, operation))
        elif isinstance(operation, Cas):
            unseen_cas.setdefault(operation.expected, []).append(operation.call)
        else:
            unseen_writes.append(operation.call)
    steps.sort(key=lambda step: (step.call, step.end))
    return _Prepared(steps, index_of, value_of, sorted(unseen_writes), {k: sorted(v) for k, v in unseen_cas.items()})


def _writers(history: Sequence[Operation]) -> dict[str, int]:
    """Who wrote each value, as a position in the history."""
    writers: dict[str, int] = {}
    for number, operation in enumerate(history):
        if not isinstance(operation, Read):
            if operation.value in writers:
                raise ValueError(f"the value {operation.value!r} is written twice; the checker needs unique values")
            writers[operation.value] = number
    return writers


def _indexes(history: Sequence[Operation], writers: Mapping[str, int]) -> tuple[dict[str, int], dict[int, str | None]]:
    """Which value had which index, as far as reads tell."""
    index_of: dict[str, int] = {}
    value_of: dict[int, str | None] = {0: ABSENT}
    for operation in history:
        if not isinstance(operation, Read):
            continue
        value, index = operation.value, operation.index
        if (value is ABSENT) != (index == 0):
            raise ValueError(f"an absent key, and only that, has index 0: {operation}")
        if value is ABSENT:
            continue
        if value not in writers:
            raise NotLinearizableError(f"a value was read that nobody wrote: {operation}")
        writer = history[writers[value]]
        if isinstance(writer, Cas) and writer.done is False:
            raise NotLinearizableError(f"the value of a refused cas was read: {writer}, {operation}")
        if index_of.setdefault(value, index) != index or value_of.setdefault(index, value) != value:
            raise NotLinearizableError(f"two indexes for one value or two values at one index: {operation}")
    return index_of, value_of


def _ends(history: Sequence[Operation], writers: Mapping[str, int], value_of: Mapping[int, str | None]) -> list[float]:
    """The latest moment at which each operation can have taken effect; infinite when it may never have."""
    ends = [math.inf if operation.returned is None else operation.returned for operation in history]
    work = list(range(len(history)))
    while work:
        number = work.pop()
        operation = history[number]
        if isinstance(operation, Read):
            seen = operation.value
        elif isinstance(operation, Cas) and operation.done is not False and ends[number] < math.inf:
            seen = value_of[operation.expected]
        else:
            continue
        if seen is not ABSENT and ends[number] < ends[writers[seen]]:
            ends[writers[seen]] = ends[number]
            work.append(writers[seen])
    return ends


@dataclass(frozen=True)
class _State:
    """The register: its value, the highest index known to be behind it, and how many unseen writes were used up."""

    value: str | None = ABSENT
    floor: int = 0
    unseen_used: int = 0


@dataclass(frozen=True)
class _Configuration:
    """The steps before `base` and those of `beyond` are done, and the register is in `state`."""

    base: int
    beyond: frozenset[int]
    state: _State


class _Search:
    def __init__(self, prepared: _Prepared, limit: int) -> None:
        self._p = prepared
        self._steps = prepared.steps
        self._limit = limit
        self._tried: set[_Configuration] = set()
        self._deepest = (-1, _Configuration(0, frozenset(), _State()))

    def run(self) -> int:
        stack = [iter([self._absorb(_Configuration(0, frozenset(), _State()))])]
        while stack:
            configuration = next(stack[-1], None)
            if configuration is None:
                stack.pop()
                continue
            if configuration.base == len(self._steps):
                return len(self._tried)
            if configuration in self._tried:
                continue
            self._tried.add(configuration)
            if len(self._tried) > self._limit:
                raise UndecidedError(f"undecided after {self._limit} configurations")
            depth = configuration.base + len(configuration.beyond)
            if depth > self._deepest[0]:
                self._deepest = (depth, configuration)
            stack.append(iter(self._followers(configuration)))
        raise NotLinearizableError(self._explanation())

    def _candidates(self, configuration: _Configuration) -> tuple[list[int], float]:
        """The steps that may come next, those that had to be done soonest first, and the soonest of these ends."""
        found: list[int] = []
        soonest = math.inf
        for number in range(configuration.base, len(self._steps)):
            step = self._steps[number]
            if step.call > soonest:
                break
            if number not in configuration.beyond:
                found.append(number)
                soonest = min(soonest, step.end)
        found = [number for number in found if self._steps[number].call <= soonest]
        found.sort(key=lambda number: self._steps[number].end)
        return found, soonest

    def _followers(self, configuration: _Configuration) -> Iterable[_Configuration]:
        candidates, soonest = self._candidates(configuration)
        for number in candidates:
            state = self._after(self._steps[number].operation, configuration.state, soonest)
            if state is not None:
                yield self._absorb(self._with(configuration, number, state))

    def _absorb(self, configuration: _Configuration) -> _Configuration:
        """Do at once whatever fits and changes nothing: if any order works, one works that has it here."""
        going_on = True
        while going_on:
            going_on = False
            for number in self._candidates(configuration)[0]:
                if self._fits_unchanged(self._steps[number].operation, configuration.state):
                    configuration = self._with(configuration, number, configuration.state)
                    going_on = True
        return configuration

    def _with(self, configuration: _Configuration, number: int, state: _State) -> _Configuration:
        base, beyond = configuration.base, configuration.beyond
        if number != base:
            return _Configuration(base, beyond | {number}, state)
        base += 1
        if beyond:
            first = base
            while base in beyond:
                base += 1
            beyond = beyond - set(range(first, base))
        return _Configuration(base, beyond, state)

    def _fits_unchanged(self, operation: Operation, state: _State) -> bool:
        if isinstance(operation, Read):
            return operation.value == state.value
        if isinstance(operation, Cas) and operation.done is False:
            return self._p.value_of[operation.expected] != state.value
        return False

    def _after(self, operation: Operation, state: _State, soonest: float) -> _State | None:
        """The register after a step, or None when the step cannot come here."""
        if isinstance(operation, Read):
            return None  # One that fits has been absorbed.
        if isinstance(operation, Cas):
            matches = self._p.value_of[operation.expected] == state.value
            if operation.done is False:
                return self._overwritten_unseen(operation.expected, state, soonest) if matches else state
            if not matches:
                return None
        index = self._p.index_of.get(operation.value)
        if index is None:
            return replace(state, value=operation.value)
        return replace(state, value=operation.value, floor=index) if index > state.floor else None

    def _overwritten_unseen(self, expected: int, state: _State, soonest: float) -> _State | None:
        """A write of unknown outcome came right before: the value that this cas asked for was gone already."""
        # A value is never written again, so the conditional ones of this index can serve only once.
        if bisect.bisect_right(self._p.unseen_cas.get(expected, []), soonest):
            return replace(state, value=_UNSEEN)
        if bisect.bisect_right(self._p.unseen_writes, soonest) > state.unseen_used:
            return replace(state, value=_UNSEEN, unseen_used=state.unseen_used + 1)
        return None

    def _explanation(self) -> str:
        depth, configuration = self._deepest
        candidates, _ = self._candidates(configuration)
        before = self._steps[max(0, configuration.base - 8) : configuration.base]
        lines = [
            f"no order explains this history; after {depth} of {len(self._steps)} operations the register holds "
            f"{configuration.state.value!r} (index {self._p.index_of.get(configuration.state.value or '', '?')}) "
            "and none of these can be next:",
            *(f"  {self._steps[number].operation}" for number in candidates[:12]),
            "before them:",
            *(f"  {step.operation}" for step in before),
        ]
        return "\n".join(lines)
