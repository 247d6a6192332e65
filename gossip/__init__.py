"""Membership by gossip: memberlist and serf as one library, on the wire as the Go originals are.

    wire          messages, packets, streams: bytes <-> structures
    members       the rules by which claims about members are believed
    broadcasts    what is still to be told, and how often
    serf          intents, Lamport clocks, user events on top of the member table
    core          all of it as one sans-IO machine: packets and time in, packets and events out
    driver        UDP, TCP and the clock, by asyncio
    consul        what Consul's agents put into tags

`server/` and `agent/` use the driver; nothing here knows what they are.
"""
