"""The keys of a pool: AES-GCM with the primary key, and every key is tried on what arrives.

A sealed text is: version (1 byte), nonce (12), ciphertext, tag (16). Version 1 seals the text as it is, version 0
pads it to 16 bytes before (PKCS#7); both are read, 1 is written.

Source: the published format of memberlist 0.5.
"""

from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip.wire import GossipError

KEY_SIZES = (16, 24, 32)
NONCE = 12
TAG = 16
OVERHEAD = 1 + NONCE + TAG
"""Bytes by which sealing with version 1 makes a text longer."""
_BLOCK = 16
NO_KEY_FITS = "No installed keys could decrypt the message"


class KeyringError(ValueError):
    """A key that cannot be installed, used or removed."""


def check_key(key: bytes) -> None:
    """Raise KeyringError for a key that AES cannot use."""
    if len(key) not in KEY_SIZES:
        raise KeyringError("key size must be 16, 24 or 32 bytes")


class Keyring:
    """Keys, the primary one first. An empty one is none: raises KeyringError for that and for keys of a wrong size."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            check_key(key)
            self._ciphers.setdefault(key, AESGCM(key))
        if not self._ciphers:
            raise KeyringError("a keyring needs a key")

    def __repr__(self) -> str:
        return f"Keyring of {len(self._ciphers)} keys"  # Never the keys: this ends up in logs.

    @property
    def keys(self) -> list[bytes]:
        """All keys, the primary one first."""
        return list(self._ciphers)

    @property
    def primary(self) -> bytes:
        """The key with which this member seals."""
        return next(iter(self._ciphers))

    def install(self, key: bytes) -> None:
        """Add a key; one that is there already stays where it is. Raises KeyringError."""
        check_key(key)
        if key not in self._ciphers:
            self._ciphers[key] = AESGCM(key)

    def use(self, key: bytes) -> None:
        """Make an installed key the primary one. Raises KeyringError."""
        cipher = self._ciphers.get(key)
        if cipher is None:
            raise KeyringError("Requested key is not in the keyring")
        self._ciphers = {key: cipher, **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key that is not the primary one; an unknown one is gone already. Raises KeyringError."""
        if key == self.primary:
            raise KeyringError("Removing the primary key is not allowed")
        self._ciphers.pop(key, None)

    def seal(self, text: bytes, aad: bytes, nonce: bytes, version: int = 1) -> bytes:
        """Encrypt with the primary key. `nonce` is 12 bytes that were never used before."""
        if version == 0:
            padding = _BLOCK - len(text) % _BLOCK
            text += bytes((padding,)) * padding
        return bytes((version,)) + nonce + self._ciphers[self.primary].encrypt(nonce, text, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Decrypt with whichever key fits. Raises GossipError."""
        if not sealed:
            raise GossipError("Cannot decrypt empty payload")
        version = sealed[0]
        if version > 1:
            raise GossipError(f"Unsupported encryption version {version}")
        if len(sealed) < OVERHEAD + (_BLOCK if version == 0 else 0):
            raise GossipError(f"Payload is too small to decrypt: {len(sealed)}")
        nonce, text = sealed[1 : 1 + NONCE], sealed[1 + NONCE :]
        for cipher in self._ciphers.values():
            try:
                found = cipher.decrypt(nonce, text, aad)
            except InvalidTag:
                continue
            return _without_padding(found) if version == 0 else found
        raise GossipError(NO_KEY_FITS)


def _without_padding(text: bytes) -> bytes:
    padding = text[-1]
    if not 1 <= padding <= _BLOCK or len(text) < padding:
        raise GossipError("malformed padding")
    return text[:-padding]
