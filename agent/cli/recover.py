"""`operator raft recover`: go on from one server's data after a quorum was lost for good. Works on a stopped server."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from agent.cli.flags import Flags, columns, fail, too_many
from model.goerrors import go_text
from server.raft.errors import ConfigurationError, CorruptLog
from server.raft.recovery import Found, inspect, write_peers

ASSURANCE = "recover"
"""The word that the operator types."""


def recover(flags: Flags) -> int:
    """Show what this server holds, explain what recovery means, and prepare it when the operator agrees."""
    problem = too_many(flags)
    if problem:
        return fail(problem)
    if not flags["data-dir"]:
        return fail("Error: -data-dir is required: the data directory of a server that survived")
    data_dir = Path(flags["data-dir"])
    try:
        lock = _lock(data_dir)
    except BlockingIOError:
        return fail(f"Error: the agent of {data_dir} is running. Stop it first, on every surviving server")
    except OSError as error:
        return fail(f"Error opening {data_dir}: {go_text(error)}")
    try:
        found = inspect(data_dir)
        _show(found)
        if flags["inspect"]:
            return 0
        return _prepare(data_dir, found, flags["yes"])
    except (CorruptLog, ConfigurationError) as error:
        return fail(f"Error: {error}")
    except OSError as error:
        return fail(f"Error: {go_text(error)}")
    finally:
        os.close(lock)


def _lock(data_dir: Path) -> int:
    """Hold the lock that a running agent holds. Raises BlockingIOError, OSError."""
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _show(found: Found) -> None:
    configuration = found.configuration
    print(f"Server ID:     {found.server_id or '(unknown)'}")
    print(f"Last term:     {found.last_term}")
    print(f"Last entry:    {found.last_index}")
    print(f"Snapshot at:   {found.snapshot_index}")
    for remark in found.remarks:
        print(f"Remark:        {remark}")
    rows = [["ID", "Address", "Voter", "This server"]]
    for name in sorted(configuration.members()):
        votes = str(configuration.is_voter(name)).lower()
        rows.append([name, configuration.addresses.get(name, ""), votes, "yes" if name == found.server_id else ""])
    print("\nThe servers of Raft, as this one knows them:\n")
    print("\n".join(columns(rows)))
    voters = len(configuration.voters)
    print(f"\n{voters} of them vote, so the cluster needs {voters // 2 + 1} to agree on anything.")


def _prepare(data_dir: Path, found: Found, agreed: bool) -> int:
    server_id = found.server_id
    address = found.configuration.addresses.get(server_id, "")
    if not address:
        return fail(f"Error: this server ({server_id or 'of unknown ID'}) is not among the servers of Raft")
    print(
        f"""
What recovery does
  The servers above are replaced by this one alone, which then leads at once. All that is in its log counts as
  agreed, up to entry {found.last_index}; writes that only lost servers had are gone for good.

Before you go on
  1. If enough of the lost servers can be started again, do that instead: nothing is lost then.
  2. Stop every surviving server, and run `lictor operator raft recover -inspect -data-dir=...` on each.
  3. Recover the one with the highest last term and, among those, the highest last entry. Only that one.

Afterwards
  4. Start this server.
  5. On every other survivor move the data directory away before you start it: it joins empty and gets the state.
     A survivor that starts with its old data could form a second cluster.
"""
    )
    if not agreed and not _asked():
        return fail("Nothing was changed.")
    path = data_dir / "raft" / "peers.json"
    write_peers(path, [(server_id, address, True)])
    print(f"Wrote {path}. Start this server now: it goes on alone, and the others can join it.")
    return 0


def _asked() -> bool:
    if not sys.stdin.isatty():
        print("Pass -yes to agree where there is no terminal.")
        return False
    return input(f"Type '{ASSURANCE}' to go on: ").strip() == ASSURANCE
