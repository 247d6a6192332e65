"""Serf's internal queries about keys: what a member answers, and what the one that asks makes of all answers.

Keys are changed everywhere or the difference shows: an operation counts as done only when every member says so.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gossip import wire
from gossip.keyring import Keyring, KeyringError
from gossip.wire import GossipError

LIST, INSTALL, USE, REMOVE = "_serf_list-keys", "_serf_install-key", "_serf_use-key", "_serf_remove-key"
OPERATIONS = (LIST, INSTALL, USE, REMOVE)
NO_KEYS = "Keyring is empty (encryption not enabled)"
NO_KEYRING = "No keyring to modify (encryption not enabled)"
_LEAST_ENCODED_KEY = 25

SaveKeys = Callable[[list[bytes]], str]


def request(key: bytes) -> bytes:
    """The payload of a query about a key; empty for the list."""
    return wire.message(wire.KEY_REQUEST, {"Key": key})


def encoded(key: bytes) -> str:
    """A key as people see it."""
    return base64.b64encode(key).decode()


def decoded(text: str) -> bytes:
    """A key from its text. Raises KeyringError with Go's words for where it is wrong."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyringError(f"illegal base64 data at input byte {wrong_byte(text)}") from None


def wrong_byte(text: str) -> int:
    """Where Go's decoder finds that a text is no base64."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for place, character in enumerate(text):
        if character not in alphabet:
            return place
    return len(text) - len(text) % 4


def answer(name: str, payload: bytes, keyring: Keyring | None, save: SaveKeys, limit: int) -> bytes:
    """What a member answers to a query about keys, in so many bytes; the keys are changed by that."""
    if keyring is None:
        return _answer(False, NO_KEYS if name == LIST else NO_KEYRING)
    if name == LIST:
        return _listed(keyring.keys, limit)
    try:
        if payload[:1] != bytes((wire.KEY_REQUEST,)):
            raise GossipError("the payload is no key request")
        key = wire.raw(wire.unpack(payload[1:]), "Key")
        {INSTALL: keyring.install, USE: keyring.use, REMOVE: keyring.remove}[name](key)
    except (KeyringError, GossipError) as error:
        return _answer(False, str(error))
    problem = save(keyring.keys)
    return _answer(not problem, problem)


def _answer(result: bool, message: str, keys: list[str] | None = None, primary: str = "") -> bytes:
    body = {"Keys": keys, "Message": message, "PrimaryKey": primary, "Result": result}
    return wire.message(wire.KEY_RESPONSE, body)


def _listed(keys: list[bytes], limit: int) -> bytes:
    texts = [encoded(key) for key in keys]
    shown = min(len(texts), limit // _LEAST_ENCODED_KEY)
    while True:
        cut = shown < len(texts)
        message = f"truncated key list response, showing first {shown} of {len(texts)} keys" if cut else ""
        body = _answer(True, message, texts[:shown], texts[0])
        if len(body) <= limit or not shown:
            return body
        shown -= 1


@dataclass
class KeyReport:
    """What the members of a pool answered to a query about keys.

    `keys` and `primary_keys` count on how many members each key is; `messages` are by member. `members` is the number
    of those that were there to answer.
    """

    members: int
    answered: int = 0
    failed: int = 0
    messages: dict[str, str] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    primary_keys: dict[str, int] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """Why the operation is not done everywhere; "" when it is."""
        if self.failed:
            return f"{self.failed}/{self.members} nodes reported failure"
        if self.answered != self.members:
            return f"{self.answered}/{self.members} nodes reported success"
        return ""

    def take(self, member: str, payload: bytes) -> None:
        """Count a member's answer."""
        self.answered += 1
        try:
            if payload[:1] != bytes((wire.KEY_RESPONSE,)):
                raise GossipError("the payload is no key response")
            fields = wire.unpack(payload[1:])
            message, primary = wire.text(fields, "Message"), wire.text(fields, "PrimaryKey")
            keys = fields.get("Keys") or []
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise GossipError("Keys is not a list of texts")
        except GossipError as error:
            self.failed += 1
            self.messages[member] = f"Invalid key query response: {error}"
            return
        if not fields.get("Result"):
            self.failed += 1
        if message or not fields.get("Result"):
            self.messages[member] = message
        for key in keys:
            self.keys[key] = self.keys.get(key, 0) + 1
        if primary:
            self.primary_keys[primary] = self.primary_keys.get(primary, 0) + 1


def report(members: int, answers: Mapping[str, bytes]) -> KeyReport:
    """All answers to a query about keys, in a pool of so many living members."""
    made = KeyReport(members)
    for member, payload in sorted(answers.items()):
        made.take(member, payload)
    return made
