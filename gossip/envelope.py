"""The outermost layers of packets and streams: a label that keeps pools apart, and encryption.

Messages go in and bytes come out, and the other way round. Nonces come from `nonce`, which tests may replace.

Source: the published format of memberlist 0.5.
"""

import os
import struct
from collections.abc import Callable

from gossip import wire
from gossip.keyring import NONCE, OVERHEAD, Keyring
from gossip.wire import GossipError

LABEL = 0xF4
MAX_SEALED_STREAM = 20 << 20
STREAM_HEADER = 5
"""Bytes before the sealed part of a stream: its type and its length."""
NOT_ENCRYPTED = "Encryption is configured but remote state is not encrypted"
NOT_CONFIGURED = "Remote state is encrypted and encryption is not configured"


class UndecipherableError(GossipError):
    """What arrived is encrypted and should not be, or the other way round, or no key fits."""


class Envelope:
    """How this member closes what it sends and opens what it receives.

    Args:
        keyring: the keys; None for no encryption.
        label: up to 255 bytes that all members of the pool share; empty for none.
        verify_incoming: refuse what is not encrypted although there are keys.
        verify_outgoing: encrypt what is sent although there are keys.
        nonce: gives so many bytes that were never used before.
    """

    def __init__(
        self,
        keyring: Keyring | None = None,
        label: bytes = b"",
        verify_incoming: bool = True,
        verify_outgoing: bool = True,
        nonce: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if len(label) > 255:
            raise GossipError(f"a label has 255 bytes at most, not {len(label)}")
        self.keyring = keyring
        self.label = label
        self._verify_incoming = verify_incoming
        self._verify_outgoing = verify_outgoing
        self._nonce = nonce

    @property
    def overhead(self) -> int:
        """Bytes that a packet needs besides its messages."""
        return (2 + len(self.label) if self.label else 0) + (OVERHEAD if self._seals else 0)

    @property
    def _seals(self) -> bool:
        return self.keyring is not None and self._verify_outgoing

    def _header(self) -> bytes:
        return bytes((LABEL, len(self.label))) + self.label if self.label else b""

    # Packets

    def close_packet(self, packet: bytes) -> bytes:
        """A packet as it is sent."""
        if self.keyring is not None and self._verify_outgoing:
            packet = self.keyring.seal(packet, self.label, self._nonce(NONCE))
        return self._header() + packet

    def open_packet(self, data: bytes) -> bytes:
        """A packet as it was before it was closed.

        Raises:
            UndecipherableError: no key fits. GossipError: it is malformed or of another pool.
        """
        label, packet = split_label(data)
        if label is None:
            raise GossipError("a label is cut short")
        if label != self.label:
            raise GossipError("a packet has the label of another pool")
        if self.keyring is None:
            return packet
        try:
            return self.keyring.open(packet, self.label)
        except GossipError as error:
            if self._verify_incoming:
                raise UndecipherableError(str(error)) from None
            return packet

    # Streams

    def close_stream(self, message: bytes, dialled: bool) -> bytes:
        """A stream's message as it is sent; the label goes only with the first one of whoever dialled."""
        header = self._header() if dialled else b""
        if self.keyring is None or not self._verify_outgoing:
            return header + message
        head = struct.pack(">BI", wire.ENCRYPTED, len(message) + OVERHEAD)
        return header + head + self.keyring.seal(message, head + self.label, self._nonce(NONCE))

    def check_plain(self) -> None:
        """A stream is not encrypted. Raises UndecipherableError when it has to be."""
        if self.keyring is not None and self._verify_incoming:
            raise UndecipherableError(NOT_ENCRYPTED)

    def check_sealed(self, head: bytes) -> int:
        """How many bytes follow the head of an encrypted stream. Raises GossipError."""
        if self.keyring is None:
            raise UndecipherableError(NOT_CONFIGURED)
        (length,) = struct.unpack_from(">I", head, 1)
        if length > MAX_SEALED_STREAM:
            raise GossipError(f"Remote node state is larger than limit ({length})")
        return int(length)

    def open_stream(self, head: bytes, sealed: bytes) -> bytes:
        """The message in the sealed part of a stream. Raises UndecipherableError."""
        if self.keyring is None:
            raise UndecipherableError(NOT_CONFIGURED)
        try:
            return self.keyring.open(sealed, head + self.label)
        except GossipError as error:
            raise UndecipherableError(str(error)) from None


def split_label(data: bytes) -> tuple[bytes | None, bytes]:
    """The label in front of a packet or stream (empty: none; None: not all of it is there yet) and the rest.

    Raises GossipError for an empty label that is there all the same.
    """
    if not data or data[0] != LABEL:
        return b"", data
    if len(data) < 2:
        return None, data
    size = data[1]
    if size == 0:
        raise GossipError("label header cannot be empty when present")
    if len(data) < 2 + size:
        return None, data
    return data[2 : 2 + size], data[2 + size :]
