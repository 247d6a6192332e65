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
    path = (ROOT / name).resolve()
    if not path.is_relative_to(ROOT.resolve()) or not path.is_file() or path.suffix not in _TYPES:
        return None
    data = path.read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:20]


def find_page(path: str, base: str, known_tag: str = "") -> Page:
    """The file for a path below the UI's base. Paths without a dot are the application's own: they get the page."""
    name = path if "." in path.rpartition("/")[2] else "index.html"
    found = _file(name)
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }
    if found is None:
        return Page(404, b"not found", "text/plain; charset=utf-8", headers)
    data, tag = found
    if name == "index.html":
        data = data.replace(b"{{base}}", base.encode())
        tag = hashlib.sha256(data).hexdigest()[:20]
    headers["ETag"] = f'"{tag}"'
    if known_tag == headers["ETag"]:
        return Page(304, b"", "", headers)
    return Page(200, data, _TYPES[Path(name).suffix], headers)
