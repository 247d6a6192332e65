"""The public vectors for quorums and membership changes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.raft.confchange import Change, enter_joint, leave_joint, simple
from server.raft.errors import ConfigurationError
from server.raft.messages import Configuration
from server.raft.quorum import EVERYTHING, Outcome, joint_value, joint_vote
from tests.support.tools import SHARED, need_shared

FOLDER = SHARED / "raft"
QUORUM = sorted(path.name for path in (FOLDER / "quorum").glob("*.txt")) or ["majority_commit.txt"]
CHANGES = sorted(path.name for path in (FOLDER / "confchange").glob("*.txt")) or ["zero.txt"]


def cases(path: Path) -> Iterator[tuple[str, str, str]]:
    """(command line, arguments, expected output) of each case of a file."""
    for block in re.split(r"\n\s*\n(?=[a-z#])", path.read_text()):
        text = "\n".join(line for line in block.split("\n") if not line.startswith("#"))
        if "----" not in text:
            continue
        head, _, expected = text.partition("----")
        lines = head.strip().split("\n")
        yield lines[0], "\n".join(lines[1:]), expected.strip()


def ids(command: str, name: str) -> list[str] | None:
    match = re.search(rf"{name}=\(([^)]*)\)", command)
    if match is None:
        return None
    return [part.strip() for part in match[1].split(",") if part.strip()]


def values(command: str, name: str) -> list[str]:
    match = re.search(rf"{name}=\(([^)]*)\)", command)
    return [part.strip() for part in re.split(r"[,\s]+", match[1]) if part.strip()] if match else []


@pytest.mark.parametrize("name", QUORUM)
def test_quorum(name: str) -> None:
    checked = 0
    for command, _, expected in cases(need_shared(f"raft/quorum/{name}")):
        voters = ids(command, "cfg") or []
        outgoing = ids(command, "cfgj") or []
        order = voters + [server for server in outgoing if server not in voters]
        wanted = expected.split("\n")[-1].rpartition(">")[2]
        checked += 1
        if command.startswith("committed"):
            known = dict(zip(order, values(command, "idx"), strict=False))
            index = {server: 0 if known.get(server, "_") == "_" else int(known[server]) for server in order}
            got = joint_value(voters, outgoing, index.__getitem__, EVERYTHING)
            assert ("∞" if got == EVERYTHING else str(got)) == wanted, command
        else:
            votes = dict(zip(order, values(command, "votes"), strict=False))
            cast = {server: vote == "y" for server, vote in votes.items() if vote != "_"}
            named = {Outcome.WON: "VoteWon", Outcome.LOST: "VoteLost", Outcome.PENDING: "VotePending"}
            assert named[joint_vote(voters, outgoing, cast)] == wanted, command
    assert checked > 3


def _group(servers: frozenset[str]) -> str:
    return "(" + " ".join(sorted(servers, key=int)) + ")"


def _shown(configuration: Configuration) -> str:
    text = f"voters={_group(configuration.voters)}"
    if configuration.outgoing:
        text += f"&&{_group(configuration.outgoing)}"
    if configuration.learners:
        text += f" learners={_group(configuration.learners)}"
    if configuration.learners_next:
        text += f" learners_next={_group(configuration.learners_next)}"
    return text + (" autoleave" if configuration.auto_leave else "")


@pytest.mark.parametrize("name", CHANGES)
def test_membership_changes(name: str) -> None:
    configuration = Configuration()
    kinds = {"v": "voter", "l": "learner", "r": "remove", "u": "update"}
    checked = 0
    for command, arguments, expected in cases(need_shared(f"raft/confchange/{name}")):
        changes = [
            Change(kinds[word[0]], "" if word[1:] == "0" else word[1:])
            for word in arguments.split()
            if word[0] in kinds and word[1:].isdigit()
        ]
        checked += 1
        try:
            if command.startswith("simple"):
                configuration = simple(configuration, changes)
            elif command.startswith("enter-joint"):
                configuration = enter_joint(configuration, changes, "autoleave=true" in command)
            else:
                configuration = leave_joint(configuration)
        except ConfigurationError as error:
            message = str(error)
            assert message == expected.split("\n")[0], command
            continue
        assert _shown(configuration) == expected.split("\n")[0], (command, arguments)
    assert checked
