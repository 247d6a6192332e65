"""Consensus: Raft as a sans-IO core, its write-ahead log, snapshots, transport and the asyncio driver.

What lives here
    core, entries, progress, quorum, confchange, messages   the protocol; no socket, disk, clock or randomness
    log, snapshot                                           what is durable
    opening, log_writer, applying, snapshotting, waiting    a node's work with the disk, the state machine and callers
    transport                                               messages and snapshots between servers
    driver                                                  `RaftNode`, which binds all of it to asyncio

Only `server/` (and tests and benchmarks) may call it, and nearly always through `server.raft.driver.RaftNode`.
This package knows nothing about what a command means: it moves bytes and calls a `StateMachine`.
"""
