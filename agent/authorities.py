"""Certificate authorities from a file, or from every file of a folder whatever it is called, as Consul reads them."""

import ssl
from pathlib import Path

from model.goerrors import go_text

MAX_FILE = 4 << 20


class AuthorityError(ValueError):
    """Authorities that cannot be used. `key` is ca_file or ca_path, the text names the path and the reason."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def trust(context: ssl.SSLContext, ca_file: str, ca_path: str) -> None:
    """Let a context trust them. Raises AuthorityError."""
    if ca_file:
        _trust_file(context, "ca_file", Path(ca_file))
    if ca_path:
        for path in _files_in(ca_path):
            _trust_file(context, "ca_path", path)


def _files_in(folder: str) -> list[Path]:
    try:
        found = sorted(path for path in Path(folder).iterdir() if path.is_file())
    except OSError as error:
        raise AuthorityError("ca_path", f"{go_text(error)}") from None
    if not found:
        raise AuthorityError("ca_path", f"{folder} holds no files")
    return found


def _trust_file(context: ssl.SSLContext, key: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise AuthorityError(key, f"{go_text(error)}") from None
    if len(text) > MAX_FILE:
        raise AuthorityError(key, f"{path} is larger than {MAX_FILE} bytes")
    try:
        context.load_verify_locations(cadata=text.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        raise AuthorityError(
            key, f"{path} holds no PEM certificate: {getattr(error, 'reason', None) or error}"
        ) from None
