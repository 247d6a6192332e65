"""What runs on servers only: consensus, the replicated state, the RPC endpoints over it, and the leader's duties.

`agent/` composes it (`server.server.Server`); nothing below may import it.
"""
