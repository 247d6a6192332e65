"""The sender to one peer outlives whatever happens to its connections, on the event loop that the agent runs on."""

import asyncio
import socket

import pytest
import uvloop

from rpc.streams import send
from server.raft.messages import Message, VoteReply
from server.raft.transport import Transport

RESET = b"\x01\0\0\0\0\0\0\0"
"""`struct linger`: closing the socket resets the connection, as the kernel does for a killed process."""


async def _until(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_messages_arrive_after_the_peer_was_killed_and_restarted_while_nothing_was_sent() -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        loop = asyncio.get_running_loop()
        sender = Transport("a", lambda peer: address)
        for _ in range(3):  # The first life of the peer, then two in which it was restarted.
            accepted = loop.create_task(loop.sock_accept(listener))
            connection = None
            async with asyncio.timeout(60):
                while connection is None:
                    sender.send(VoteReply("b", "a", 1, True))
                    done, _ = await asyncio.wait({accepted}, timeout=0.05)
                    connection = accepted.result()[0] if done else None
                assert (await loop.sock_recv(connection, 1)) == b"\x01"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
            await asyncio.sleep(0.1)  # Idle: the transport learns of the reset, the sender has nothing to do.

        received: list[Message] = []
        receiver = Transport("b", lambda peer: "")
        receiver.on_message = received.append

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(1) == b"\x01"
            await receiver.accept(reader, writer)

        server = await asyncio.start_server(accept, sock=listener)

        def arrived() -> bool:
            sender.send(VoteReply("b", "a", 2, True))
            return bool(received)

        await _until(arrived)
        assert received[0] == VoteReply("b", "a", 2, True)
        server.close()
        await sender.close()
        await receiver.close()

    uvloop.run(main())


def test_sending_on_a_connection_that_has_ended_is_a_connection_error() -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        _, writer = await asyncio.open_connection(*listener.getsockname())
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        await _until(writer.is_closing)
        with pytest.raises(ConnectionResetError):
            send(writer, b"x")
        listener.close()

    uvloop.run(main())
