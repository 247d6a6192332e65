"""The checker accepts what one register could have answered and refuses everything else."""

import itertools
import random

import pytest

from tests.support.linearizable import (
    Cas,
    NotLinearizableError,
    Operation,
    Read,
    UndecidedError,
    Write,
    check,
    check_keys,
)

ACCEPTED: dict[str, list[Operation]] = {
    "nothing": [],
    "absent": [Read(0, 1, None, 0)],
    "in turn": [Write(0, 1, "a"), Read(2, 3, "a", 10), Cas(4, 5, 10, "b", True), Read(6, 7, "b", 11)],
    "a read beside a write sees it or not": [Write(0, 9, "a"), Read(1, 2, None, 0), Read(3, 4, "a", 7)],
    "writes side by side, in either order": [Write(0, 9, "a"), Write(0, 9, "b"), Read(10, 11, "a", 7)],
    "a lost answer took effect late": [Write(0, None, "a"), Read(5, 6, None, 0), Read(7, 8, "a", 9)],
    "a lost answer never took effect": [Write(0, None, "a"), Read(5, 6, None, 0), Read(7, 8, None, 0)],
    "a lost cas took effect": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Cas(4, None, 5, "b", None),
        Cas(6, 7, 5, "c", False),
        Read(8, 9, "b", 6),
    ],
    "an unseen write made a cas fail": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Write(4, None, "lost"),
        Cas(5, 6, 5, "b", False),
        Write(7, 8, "c"),
        Read(9, 10, "c", 12),
    ],
    "an unseen cas made a cas fail": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Cas(4, None, 5, "lost", None),
        Cas(5, 6, 5, "b", False),
    ],
    "created once": [Cas(0, 9, 0, "a", True), Cas(0, 9, 0, "b", False), Read(10, 11, "a", 3)],
    "a chain of lost cas, seen at its end": [
        Write(0, None, "a"),
        Read(1, 2, "a", 4),
        Cas(3, None, 4, "b", None),
        Read(5, 6, "b", 5),
    ],
}

REFUSED: dict[str, list[Operation]] = {
    "stale read": [Write(0, 1, "a"), Write(2, 3, "b"), Read(4, 5, "a", 7)],
    "stale read of nothing": [Write(0, 1, "a"), Read(2, 3, None, 0)],
    "reads go back": [Write(0, 9, "a"), Read(1, 2, "a", 7), Read(3, 4, None, 0)],
    "reads by two clients disagree on the order": [
        Write(0, 9, "a"),
        Write(0, 9, "b"),
        Read(1, 2, "a", 5),
        Read(3, 4, "b", 6),
        Read(5, 6, "a", 5),
    ],
    "lost write": [Write(0, 1, "a"), Read(2, 3, "a", 5), Write(4, 5, "b"), Read(6, 7, "a", 5)],
    "cas twice at one index": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Cas(4, 9, 5, "b", True),
        Cas(4, 9, 5, "c", True),
    ],
    "created twice": [Cas(0, 9, 0, "a", True), Cas(0, 9, 0, "b", True)],
    "cas refused without reason": [Write(0, 1, "a"), Read(2, 3, "a", 5), Cas(4, 5, 5, "b", False)],
    "cas refused, but what might explain it came later": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Cas(4, 5, 5, "b", False),
        Write(6, None, "lost"),
    ],
    "one unseen write cannot explain two refusals": [
        Write(0, 1, "a"),
        Read(2, 3, "a", 5),
        Write(4, None, "lost"),
        Cas(5, 6, 5, "b", False),
        Write(7, 8, "c"),
        Read(9, 10, "c", 12),
        Cas(11, 12, 12, "d", False),
    ],
    "refused cas took effect": [Write(0, 1, "a"), Read(2, 3, "a", 5), Cas(4, 5, 5, "b", False), Read(6, 7, "b", 6)],
    "a value from nowhere": [Write(0, 1, "a"), Read(2, 3, "z", 5)],
    "read before it was written": [Read(0, 1, "a", 5), Write(2, 3, "a")],
    "lost answer seen, then gone": [Write(0, None, "a"), Read(1, 2, "a", 5), Read(3, 4, None, 0)],
    "the index went back": [Write(0, 1, "a"), Read(2, 3, "a", 7), Write(4, 5, "b"), Read(6, 7, "b", 6)],
    "one value, two indexes: written twice": [Write(0, 1, "a"), Read(2, 3, "a", 7), Read(4, 5, "a", 8)],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_a_register_could_answer_is_accepted(name: str) -> None:
    check(ACCEPTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_register_could_answer_is_refused(name: str) -> None:
    with pytest.raises(NotLinearizableError):
        check(REFUSED[name])


def test_the_key_is_named() -> None:
    with pytest.raises(NotLinearizableError, match="key k2"):
        check_keys({"k1": ACCEPTED["in turn"], "k2": REFUSED["stale read"]})


def test_what_is_no_history_is_refused_as_such() -> None:
    for history in ([Write(0, 1, "a"), Write(2, 3, "a")], [Write(3, 1, "a")], [Cas(0, 1, 77, "a", True)]):
        with pytest.raises(ValueError):
            check(history)


def test_the_search_is_bounded() -> None:
    history: list[Operation] = [Write(0, 100, f"w{number}") for number in range(30)]
    with pytest.raises(UndecidedError):
        check([*history, Write(101, 102, "last"), Read(103, 104, "w3", 7)], limit=500)


def simulate(random_: random.Random, count: int, clients: int, lost: float) -> list[Operation]:
    """A history of a real register: each operation takes effect at a moment between its call and its return."""
    free_at = [0.0] * clients
    plan = []
    for number in range(count):
        client = random_.randrange(clients)
        call = free_at[client] + random_.random()
        moment = call + random_.random()
        free_at[client] = moment + random_.random()
        plan.append((moment, call, free_at[client], number))
    history: list[Operation] = []
    value: str | None = None
    index = 0
    seen = [0]
    for moment, call, returned, number in sorted(plan):
        kind = random_.choice(("write", "cas", "read", "read"))
        unknown = random_.random() < lost
        never = unknown and random_.random() < 0.5
        if kind == "read":
            history.append(Read(call, returned, value, index))
            seen.append(index)
        elif kind == "write":
            history.append(Write(call, None if unknown else returned, f"v{number}"))
            if not never:
                value, index = f"v{number}", int(moment * 1000) + 1
        else:
            expected = random_.choice(seen[-3:])
            done = expected == index
            answer = None if unknown else done
            history.append(Cas(call, None if unknown else returned, expected, f"v{number}", answer))
            if done and not never:
                value, index = f"v{number}", int(moment * 1000) + 1
    random_.shuffle(history)
    return history


@pytest.mark.parametrize("seed", range(20))
def test_every_history_of_a_real_register_is_accepted(seed: int) -> None:
    random_ = random.Random(seed)
    for _ in range(20):
        check(simulate(random_, 60, random_.randint(1, 6), random_.choice((0, 0.1, 0.4))))


def test_a_long_history_with_many_lost_answers_is_decided_quickly() -> None:
    tried = check(simulate(random.Random(5), 5000, 6, 0.1))
    assert tried < 100_000


def explained_by_some_order(history: list[Operation]) -> bool:
    """The definition itself, for short histories: try all subsets of the unknown and all orders."""
    unknown = [operation for operation in history if operation.returned is None]
    known = [operation for operation in history if operation.returned is not None]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *chosen]):
                if in_time(order) and answers_fit(order):
                    return True
    return False


def in_time(order: tuple[Operation, ...]) -> bool:
    for place, operation in enumerate(order):
        for later in order[place + 1 :]:
            if later.returned is not None and later.returned < operation.call:
                return False
    return True


def answers_fit(order: tuple[Operation, ...]) -> bool:
    index_of: dict[str | None, int] = {None: 0}
    for operation in order:
        seen = index_of.setdefault(operation.value, operation.index) if isinstance(operation, Read) else 0
        if isinstance(operation, Read) and seen != operation.index:
            return False
    if len(set(index_of.values())) != len(index_of):
        return False
    value: str | None = None
    floor = 0
    for operation in order:
        if isinstance(operation, Read):
            if operation.value != value:
                return False
            continue
        if isinstance(operation, Cas):
            matches = index_of.get(value) == operation.expected
            if operation.done is False:
                if matches:
                    return False
                continue
            if not matches:
                return False
        value = operation.value
        if value in index_of:
            if index_of[value] <= floor:
                return False
            floor = index_of[value]
    return True


def garble(random_: random.Random, history: list[Operation]) -> list[Operation]:
    """Exchange the answers of two reads, or turn a cas's answer round."""
    history = list(history)
    reads = [number for number, operation in enumerate(history) if isinstance(operation, Read)]
    cases = [n for n, operation in enumerate(history) if isinstance(operation, Cas) and operation.done is not None]
    if cases and random_.random() < 0.5:
        number = random_.choice(cases)
        old = history[number]
        assert isinstance(old, Cas)
        history[number] = Cas(old.call, old.returned, old.expected, old.value, not old.done)
    elif len(reads) >= 2:
        one, two = random_.sample(reads, 2)
        first, second = history[one], history[two]
        assert isinstance(first, Read) and isinstance(second, Read)
        history[one] = Read(first.call, first.returned, second.value, second.index)
        history[two] = Read(second.call, second.returned, first.value, first.index)
    return history


@pytest.mark.parametrize("seed", range(10))
def test_the_search_agrees_with_the_definition(seed: int) -> None:
    random_ = random.Random(1000 + seed)
    verdicts = set()
    for _ in range(60):
        history = simulate(random_, 6, random_.randint(2, 3), 0.25)
        if random_.random() < 0.7:
            history = garble(random_, history)
        wanted = explained_by_some_order(history)
        try:
            check(history)
            found = True
        except NotLinearizableError:
            found = False
        except ValueError:
            continue
        assert found == wanted, history
        verdicts.add(found)
    assert verdicts == {True, False}
