"""Calls between agents and servers: yamux streams and msgpack net/rpc on one port.

    yamux      the multiplexing protocol, sans-IO
    session    a yamux connection on asyncio, as streams to read and write
    messages   calls on a stream: header and body values
    listener   the server's port: the first byte of a connection says what it is
    pool       connections to servers, and calls over them
    router     which server a client asks, and when it asks again

`server/` and `agent/` use it; it knows the model and nothing above.
"""
