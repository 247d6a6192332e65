"""The public listener, which enforces intentions, and the upstream listeners, which find and verify the other side."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter

from connect_proxy import identity
from connect_proxy.balance import RoundRobin
from connect_proxy.relay import Half
from mesh.proxy_state import Endpoint, ProxyState, Upstream, may_connect
from model.goerrors import system_text

log = logging.getLogger("lictor.connect.proxy")

HANDSHAKE_TIMEOUT = 10.0


class World:
    """The present proxy state with the TLS contexts made of it."""

    def __init__(self, state: ProxyState) -> None:
        self.counters: Counter[str] = Counter()
        self.state = state
        self.server_context = identity.server_context(state.leaf, state.roots)
        self.client_context = identity.client_context(state.leaf, state.roots)

    def update(self, state: ProxyState) -> bool:
        """New connections see the new state; established ones go on. Returns whether the identity is another."""
        renewed = False
        if state.leaf != self.state.leaf or state.roots != self.state.roots:
            self.server_context = identity.server_context(state.leaf, state.roots)
            self.client_context = identity.client_context(state.leaf, state.roots)
            log.info("identity renewed: service=%s", state.service)
            renewed = True
        self.state = state
        return renewed


class _Listener:
    """A listening socket and the connections that came through it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._server: asyncio.Server | None = None
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it is in use."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=512)
        self._socket = listening
        await self.serve_with(self.context())
        bound: int = listening.getsockname()[1]
        return bound

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for incoming connections, if they speak TLS."""
        return None

    async def serve_with(self, context: ssl.SSLContext | None) -> None:
        """Accept with a context from now on. The listening socket stays open, so no connection is refused meanwhile."""
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        timeout = HANDSHAKE_TIMEOUT if context is not None else None
        server = await loop.create_server(
            lambda: _Accepted(self), sock=self._socket.dup(), ssl=context, ssl_handshake_timeout=timeout
        )
        if self._server is not None:
            self._server.close()
        self._server = server

    def accepted(self, half: Half) -> None:
        """A connection came in."""
        task = asyncio.get_running_loop().create_task(self._serve_safely(half))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_safely(self, half: Half) -> None:
        try:
            await self.serve(half)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            log.debug("a connection ended: %s", error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a connection failed")
        finally:
            half.close()

    async def serve(self, half: Half) -> None:
        """Serve one connection until it ends."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Close the socket; connections go on."""
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def drain(self, seconds: float) -> None:
        """Wait for connections to end, then end those that have not."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Accepted(Half):
    def __init__(self, listener: _Listener) -> None:
        super().__init__()
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._listener.accepted(self)


class PublicListener(_Listener):
    """Takes connections of the mesh: verifies the certificate, asks the intentions, then passes on to the owner."""

    def context(self) -> ssl.SSLContext | None:
        """Mutual TLS with the present identity."""
        return self.world.server_context

    async def serve(self, half: Half) -> None:
        """Serve one connection."""
        world = self.world
        assert half.transport is not None
        peer = half.transport.get_extra_info("peername")
        loop = asyncio.get_running_loop()
        state = world.state
        source = identity.peer_service(half.transport.get_extra_info("peercert"), state.trust_domain)
        if source is None:
            world.counters["refused"] += 1
            log.warning("refused a connection from %s: its certificate names no service of this mesh", peer)
            return
        if not may_connect(state, source.service):
            world.counters["denied"] += 1
            log.info("denied by intention: source=%s destination=%s", source.service, state.service)
            return
        public = state.public
        if public is None:
            return
        local = Half()
        try:
            async with asyncio.timeout(public.connect_timeout):
                if public.local_socket:
                    await loop.create_unix_connection(lambda: local, public.local_socket)
                else:
                    await loop.create_connection(lambda: local, public.local_address, public.local_port)
        except (OSError, TimeoutError) as error:
            world.counters["local_failed"] += 1
            log.warning("cannot reach the service itself at %s:%d: %s", public.local_address, public.local_port, error)
            return
        world.counters["accepted"] += 1
        half.join(local)
        await asyncio.wait([half.closed, local.closed])


class UpstreamListener(_Listener):
    """Takes plain connections of the owner and carries them to an instance of the upstream."""

    def __init__(self, world: World, upstream: Upstream) -> None:
        super().__init__(world)
        self.upstream = upstream
        self._balance = RoundRobin()

    async def serve(self, half: Half) -> None:
        """Serve one connection."""
        upstream = self.upstream
        loop = asyncio.get_running_loop()
        endpoints = self._balance.order(upstream.endpoints, loop.time())
        if not endpoints:
            self.world.counters["no_endpoint"] += 1
            log.warning("no healthy instance of upstream %s", upstream.name)
            return
        for endpoint in endpoints[:3]:
            far = await self._dial(upstream, endpoint)
            if far is not None:
                self.world.counters["upstream_connected"] += 1
                half.join(far)
                await asyncio.wait([half.closed, far.closed])
                return
        log.warning("no instance of upstream %s could be reached", upstream.name)

    async def _dial(self, upstream: Upstream, endpoint: Endpoint) -> Half | None:
        loop = asyncio.get_running_loop()
        far = Half()
        try:
            async with asyncio.timeout(upstream.connect_timeout):
                transport, _ = await loop.create_connection(
                    lambda: far,
                    endpoint.address,
                    endpoint.port,
                    ssl=self.world.client_context,
                    server_hostname=upstream.sni,
                )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self.world.counters["upstream_failed"] += 1
            self._balance.failed(endpoint, loop.time())
            log.warning(
                "upstream %s: cannot connect to %s:%d: %s",
                upstream.name,
                endpoint.address,
                endpoint.port,
                _reason(error),
            )
            return None
        uris = identity.peer_uris(transport.get_extra_info("peercert"))
        if len(uris) != 1 or uris[0] not in upstream.identities:
            self.world.counters["wrong_identity"] += 1
            log.warning(
                "upstream %s: %s:%d showed the certificate of %s", upstream.name, endpoint.address, endpoint.port, uris
            )
            transport.close()
            return None
        return far


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return str(error) or type(error).__name__


class Listeners:
    """All listeners of a proxy, kept in step with its state."""

    def __init__(self, state: ProxyState) -> None:
        self.world = World(state)
        self.public: PublicListener | None = None
        self.public_port = 0
        self._public_at: tuple[str, int] | None = None
        self.upstreams: dict[tuple[str, int], UpstreamListener] = {}
        self._retired: list[_Listener] = []

    async def apply(self, state: ProxyState) -> None:
        """Follow a new state: listeners that stay are not touched, those that go stop accepting."""
        renewed = self.world.update(state)
        await self._apply_public(state)
        if renewed and self.public is not None:
            await self.public.serve_with(self.public.context())
        wanted = {(one.bind_address, one.bind_port): one for one in state.upstreams}
        for key in [key for key in self.upstreams if key not in wanted]:
            gone = self.upstreams.pop(key)
            gone.stop_accepting()
            self._retired.append(gone)
        for key, upstream in wanted.items():
            known = self.upstreams.get(key)
            if known is not None:
                known.upstream = upstream
                continue
            listener = UpstreamListener(self.world, upstream)
            try:
                await listener.open(*key)
            except OSError as error:
                log.error("upstream %s: cannot listen on %s:%d: %s", upstream.name, *key, system_text(error))
                continue
            log.info("listening for upstream %s on %s:%d", upstream.name, *key)
            self.upstreams[key] = listener

    async def _apply_public(self, state: ProxyState) -> None:
        wanted = (state.public.bind_address, state.public.bind_port) if state.public else None
        if wanted == self._public_at:
            return
        if self.public is not None:
            self.public.stop_accepting()
            self._retired.append(self.public)
            self.public = None
        self._public_at = wanted
        if wanted is not None:
            self.public = PublicListener(self.world)
            self.public_port = await self.public.open(*wanted)
            log.info("public listener of %s on %s:%d", state.service, wanted[0], self.public_port)

    async def close(self, drain: float) -> None:
        """Stop accepting, let connections finish for a while, end the rest."""
        everything = [*self._retired, *self.upstreams.values(), *([self.public] if self.public else [])]
        for listener in everything:
            listener.stop_accepting()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(listener.drain(drain) for listener in everything))
