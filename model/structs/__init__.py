"""The structs of Consul's RPC, Raft log, snapshots and HTTP API, one module for each family; anybody may import them.

Field names, types and zero values are the public ones; each class says in one line what it is for.
"""
