"""The UI's files: found by path, with their types, an ETag, and a policy that lets nothing foreign in."""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent / "app"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Page(NamedTuple):
    """A file as it is answered."""

    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]


@cache
def _file(name: str) -> tuple[bytes, str] | None:
    found = _read(ROOT, name)
    return (found, hashlib.sha256(found).hexdigest()[:20]) if found is not None else None


def _read(root: Path, name: str) -> bytes | None:
    """A file below a folder; None for what is not there, lies elsewhere, or is of no known type."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()) or not path.is_file() or path.suffix not in _TYPES:
            return None
        return path.read_bytes()
    except (OSError, ValueError):
        return None


def _foreign(folder: str, name: str) -> tuple[bytes, str] | None:
    """A file of somebody else's UI, read anew each time: whoever works on it wants to see what it is now."""
    found = _read(Path(folder), name)
    return (found, hashlib.sha256(found).hexdigest()[:20]) if found is not None else None


def find_page(path: str, base: str, known_tag: str = "", folder: str = "") -> Page:
    """The file for a path below the UI's base. Paths without a dot are the application's own: they get the page.

    With a `folder` its files are the UI: served as they are, and without our policy, which is not made for them.
    """
    name = path if "." in path.rpartition("/")[2] else "index.html"
    found = _foreign(folder, name) if folder else _file(name)
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    if folder:
        del headers["Content-Security-Policy"]
    if found is None:
        return Page(404, b"not found", "text/plain; charset=utf-8", headers)
    data, tag = found
    if name == "index.html" and not folder:
        data = data.replace(b"{{base}}", base.encode())
        tag = hashlib.sha256(data).hexdigest()[:20]
    headers["ETag"] = f'"{tag}"'
    if known_tag == headers["ETag"]:
        return Page(304, b"", "", headers)
    return Page(200, data, _TYPES[Path(name).suffix], headers)
