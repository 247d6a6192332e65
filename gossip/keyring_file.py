"""The keyring on disk, in serf's format: a JSON list of base64 keys, the primary one first."""

import json
import os
from pathlib import Path

from gossip.key_answers import decoded, encoded
from gossip.keyring import KeyringError, check_key
from model.goerrors import go_text

MOST_BYTES = 1 << 20


def load(path: Path) -> list[bytes]:
    """The keys of a file, the primary one first. Raises KeyringError, which never shows a key."""
    try:
        with path.open("rb") as file:
            texts = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError) as error:
        reason = go_text(error) if isinstance(error, OSError) else "it is no JSON"
        raise KeyringError(f"cannot read the keyring {path}: {reason}") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise KeyringError(f"cannot read the keyring {path}: it is no list of texts")
    if not texts:
        raise KeyringError(f"the keyring {path} contains no keys")
    keys = []
    for number, text in enumerate(texts):
        try:
            keys.append(decoded(text))
            check_key(keys[-1])
        except KeyringError as error:
            raise KeyringError(f"the keyring {path} is damaged: key {number}: {error}") from None
    return keys


def save(path: Path, keys: list[bytes]) -> None:
    """Write the keys so that after a crash the file holds the old ones or the new ones. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".keyring.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps([encoded(key) for key in keys], indent=2))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
