"""What an agent leaves on disk for others to find: its process's number, and when a server was last alive."""

import json
import os
import time
import uuid
from pathlib import Path

from model.goerrors import go_text

METADATA = "server_metadata.json"
SEEN_EVERY = 3600.0
"""Seconds between two notes that a server is alive."""


def write_pid(path: str) -> None:
    """Write this process's number. Raises OSError with a readable text."""
    try:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{os.getpid()}")
    except OSError as error:
        raise OSError(f"could not create PID file: {go_text(error)}") from None


def remove_pid(path: str) -> None:
    """Remove the file if it still holds this process's number."""
    try:
        file = Path(path)
        if file.read_text().strip() == str(os.getpid()):
            file.unlink()
    except OSError:
        pass  # Somebody has removed it.


def note_alive(folder: Path) -> None:
    """Write down that a server is alive now. Raises OSError."""
    path = folder / METADATA
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps({"last_seen_unix": int(time.time())}))
    fresh.replace(path)


def offline_too_long(folder: Path, limit: float) -> str:
    """Why a server that was away for longer than `limit` seconds must not come back with its old data; "" if it may."""
    try:
        seen = json.loads((folder / METADATA).read_text()).get("last_seen_unix", 0)
        age = time.time() - float(seen)
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
    if age <= limit:
        return ""
    return (
        f"refusing to rejoin cluster because server has been offline for more than the configured "
        f"server_rejoin_age_max ({limit / 3600:g}h) - consider wiping your data dir"
    )


def host_id() -> str:
    """A node ID made from the machine's own, the same at every start; "" where the machine has none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/class/dmi/id/product_uuid"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text:
            return str(uuid.uuid5(uuid.NAMESPACE_OID, f"lictor node {text.lower()}"))
    return ""
