"""Keys, locks and sessions: their tables and rules, and the client side of locks and semaphores.

`server/` owns the tables and is the only one to write them; the client side speaks the HTTP API and may be used by
anybody above.
"""
