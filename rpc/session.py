"""A yamux connection on asyncio: streams that can be read and written with back-pressure."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from rpc import yamux
from rpc.yamux import Yamux, YamuxError

PING_INTERVAL = 30.0
PING_TIMEOUT = 10.0
WRITE_TIMEOUT = 30.0


class Stream:
    """One stream of a session."""

    def __init__(self, session: "Session", number: int) -> None:
        self.session = session
        self.number = number
        self._buffer = bytearray()
        self._ended = False
        self._dead = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def read(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end. Raises ConnectionError when the stream is dead."""
        while not self._buffer:
            if self._dead:
                raise ConnectionResetError("stream reset")
            if self._ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self.session.consumed(self.number, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send everything, waiting for the window. Raises ConnectionError."""
        view = memoryview(data)
        while view:
            if self._dead or self.session.closed:
                raise ConnectionResetError("stream closed")
            sent = self.session.send(self.number, view)
            view = view[sent:]
            if view and not sent:
                self._writable.clear()
                async with asyncio.timeout(WRITE_TIMEOUT):
                    await self._writable.wait()
        await self.session.drain()

    def close(self) -> None:
        """Send no more."""
        self.session.close_stream(self.number)

    def abort(self) -> None:
        """Kill the stream."""
        self.session.reset_stream(self.number)
        self.died()

    def arrived(self, data: bytes) -> None:
        """Called by the session."""
        self._buffer += data
        self._readable.set()

    def ended(self) -> None:
        """Called by the session: the other side sends no more."""
        self._ended = True
        self._readable.set()

    def died(self) -> None:
        """Called by the session."""
        self._dead = True
        self._readable.set()
        self._writable.set()

    def window_grew(self) -> None:
        """Called by the session."""
        self._writable.set()


class Session:
    """One connection. `serve` is called with each stream that the other side opens."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_client: bool,
        serve: Callable[[Stream], Awaitable[None]] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._machine = Yamux(is_client)
        self._serve = serve
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pong = asyncio.Event()
        self._flushing = False
        self.closed = False
        self._runner = asyncio.get_running_loop().create_task(self._run())
        self._pinger = asyncio.get_running_loop().create_task(self._ping())

    def open(self) -> Stream:
        """Open a stream. Raises ConnectionError when the session is over."""
        if self.closed:
            raise ConnectionResetError("session shutdown")
        try:
            number = self._machine.open()
        except YamuxError as error:
            raise ConnectionResetError(str(error)) from None
        stream = self._streams[number] = Stream(self, number)
        self._flush_soon()
        return stream

    def send(self, number: int, data: memoryview) -> int:
        """Called by a stream."""
        try:
            count = self._machine.send(number, data)
        except YamuxError as error:
            raise ConnectionResetError(str(error)) from None
        self._flush_soon()
        return count

    def consumed(self, number: int, count: int) -> None:
        """Called by a stream."""
        self._machine.consumed(number, count)
        self._flush_soon()

    def close_stream(self, number: int) -> None:
        """Called by a stream."""
        self._machine.close(number)
        self._flush_soon()

    def reset_stream(self, number: int) -> None:
        """Called by a stream."""
        self._machine.reset(number)
        self._streams.pop(number, None)
        self._flush_soon()

    async def drain(self) -> None:
        """Wait until the connection takes more."""
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._writer.drain()

    def _flush_soon(self) -> None:
        """Send what has gathered at the end of this turn of the event loop: one packet for the frames of many calls."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._machine.out and not self.closed and not self._writer.is_closing():
            self._writer.write(bytes(self._machine.out))
        self._machine.out.clear()

    async def _run(self) -> None:
        try:
            while data := await self._reader.read(65536):
                for event in self._machine.receive(data):
                    self._on_event(event)
                self._flush_soon()
        except (OSError, YamuxError):
            self._flush()
        finally:
            self._end()

    def _on_event(self, event: yamux.Event) -> None:
        if isinstance(event, yamux.Opened):
            stream = self._streams[event.stream] = Stream(self, event.stream)
            if self._serve is None:
                stream.abort()
                return
            task = asyncio.get_running_loop().create_task(self._serve_stream(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if isinstance(event, yamux.Pong):
            self._pong.set()
            return
        if isinstance(event, yamux.WentAway):
            return
        known = self._streams.get(event.stream)
        if known is None:
            return
        if isinstance(event, yamux.Received):
            known.arrived(event.data)
        elif isinstance(event, yamux.HalfClosed):
            known.ended()
        elif isinstance(event, yamux.Writable):
            known.window_grew()
        else:
            known.died()
            self._streams.pop(event.stream, None)

    async def _serve_stream(self, stream: Stream) -> None:
        assert self._serve is not None
        try:
            await self._serve(stream)
        except (OSError, TimeoutError):
            pass  # The other side is gone, or too slow.
        finally:
            stream.close()
            self._streams.pop(stream.number, None)

    async def _ping(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(PING_INTERVAL)
            number += 1
            self._pong.clear()
            self._machine.ping(number)
            self._flush()
            try:
                async with asyncio.timeout(PING_TIMEOUT):
                    await self._pong.wait()
            except TimeoutError:
                self._writer.transport.abort()
                return

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._pinger.cancel()
        for stream in list(self._streams.values()):
            stream.died()
        self._streams.clear()
        for task in list(self._tasks):
            task.cancel()
        self._writer.close()

    async def close(self) -> None:
        """End the session and all its streams."""
        with contextlib.suppress(OSError):
            self._machine.go_away()
            self._flush()
        self._end()
        self._runner.cancel()
        await asyncio.gather(self._runner, self._pinger, *self._tasks, return_exceptions=True)

    async def wait_closed(self) -> None:
        """Wait until the session is over."""
        await asyncio.gather(self._runner, return_exceptions=True)
