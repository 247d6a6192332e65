"""Majorities, plain and joint: what a set of voters has agreed on.

Pure functions. An empty half agrees with everything: a joint quorum with an empty outgoing half is the plain one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

Measure = TypeVar("Measure", int, float)

EVERYTHING: Final = 2**63 - 1
"""The index that an empty set of voters has agreed on."""


class Outcome(enum.Enum):
    """Of an election so far."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def majority(size: int) -> int:
    """How many of `size` voters are more than half."""
    return size // 2 + 1


def majority_value(voters: Collection[str], value_of: Callable[[str], Measure], unlimited: Measure) -> Measure:
    """The highest value that more than half of the voters have reached; `unlimited` when there is no voter."""
    if not voters:
        return unlimited
    values = sorted([value_of(voter) for voter in voters])
    return values[len(values) - majority(len(values))]


def joint_value(
    voters: Collection[str], outgoing: Collection[str], value_of: Callable[[str], Measure], unlimited: Measure
) -> Measure:
    """The highest value that a majority of both halves has reached."""
    value = majority_value(voters, value_of, unlimited)
    if not outgoing:
        return value
    return min(value, majority_value(outgoing, value_of, unlimited))


def majority_vote(voters: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    """How an election among `voters` stands, given the votes known so far (True: granted)."""
    if not voters:
        return Outcome.WON
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    needed = majority(len(voters))
    if granted >= needed:
        return Outcome.WON
    if len(voters) - refused < needed:
        return Outcome.LOST
    return Outcome.PENDING


def joint_vote(voters: Collection[str], outgoing: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    """How an election stands that both halves must win."""
    first = majority_vote(voters, votes)
    second = majority_vote(outgoing, votes)
    if first is second:
        return first
    if Outcome.LOST in (first, second):
        return Outcome.LOST
    return Outcome.PENDING
