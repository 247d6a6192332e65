"""The RPC services over the replicated state, one module for each; `dispatch.call` is the way in.

A read is a plain function of state; the query path (`query.py`) adds forwarding, consistency, blocking and meta data. A
write validates, then proposes a command.
"""
