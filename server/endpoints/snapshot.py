"""Snapshots of the whole state: saved as an archive, and put in the place of the present state on every server.

A restore is a command of the log like any other, so all servers change to the new state at the same index; see
`docs/decisions/restore.md`. The archive is checked and decoded before anything is proposed: a bad one changes nothing.
"""

import asyncio
import io
from typing import IO, BinaryIO, cast

from model.errors import RpcError
from model.goerrors import go_text
from model.structs.operator import SnapshotRequest, SnapshotResponse
from rpc.snapshot_stream import RESTORE, SAVE, spool
from server.endpoints.authorizer import authorizer
from server.endpoints.context import Context
from server.fsm import restore_command
from server.raft.errors import RaftError
from server.snapshot_archive import ArchiveError, ArchiveMeta, ArchiveServer, read_archive, write_archive

PIECE_TIMEOUT = 60.0
"""Seconds for each piece of a restore to be committed."""


async def carry_out(
    context: Context, request: SnapshotRequest, archive: IO[bytes]
) -> tuple[SnapshotResponse, IO[bytes]]:
    """Save or restore here: on the leader, or on any server for a save with `allow_stale`.

    Returns the answer and the archive of a save, rewound. Raises RpcError.
    """
    await context.acl.prepare(request.token)
    authorizer(context, request.token).require("acl", "write")
    if request.op == SAVE:
        return await _save(context, request)
    if request.op != RESTORE:
        raise RpcError(f"unrecognized snapshot op {request.op}")
    if request.allow_stale:
        raise RpcError("stale not allowed for restore")
    await _restore(context, archive)
    return SnapshotResponse(known_leader=True), spool()


async def _save(context: Context, request: SnapshotRequest) -> tuple[SnapshotResponse, IO[bytes]]:
    raft = context.raft
    if not request.allow_stale:
        try:
            await raft.read_barrier()  # What a client was told is written is in the archive.
        except RaftError as error:
            raise RpcError(str(error)) from None
    # Index, servers and rows are of the same moment: nothing waits between these lines.
    index, term = raft.applied
    meta = ArchiveMeta(
        index + context.fsm.index_offset,
        term,
        0,
        servers=[ArchiveServer(server.id, server.address, server.voter) for server in raft.servers],
        configuration_index=raft.configuration_index,
    )
    write = context.fsm.export()
    saved = spool()
    try:
        await asyncio.to_thread(write_archive, cast(BinaryIO, saved), meta, write, context.now_nanoseconds() / 1e9)
    except OSError as error:
        saved.close()
        raise RpcError(f"failed to write snapshot: {go_text(error)}") from None
    saved.seek(0)
    last_contact = 0 if raft.is_leader else int(raft.last_contact * 1e9)
    response = SnapshotResponse(index=meta.index, known_leader=raft.leader is not None, last_contact=last_contact)
    return response, saved


def _checked(context: Context, archive: IO[bytes]) -> tuple[int, bytes]:
    """The archive's index and records, after every check that applying them makes. Raises RpcError."""
    try:
        meta, state = read_archive(cast(BinaryIO, archive))
    except ArchiveError as error:
        raise RpcError(str(error)) from None
    with state:
        records = state.read()
    context.fsm.decode(io.BytesIO(records))
    return meta.index, records


async def _restore(context: Context, archive: IO[bytes]) -> None:
    index, records = await asyncio.to_thread(_checked, context, archive)
    try:
        await context.raft.propose(restore_command(index, records), PIECE_TIMEOUT)
    except RaftError as error:
        raise RpcError(f"failed to restore snapshot: {error}") from None
    await context.lead_again()
