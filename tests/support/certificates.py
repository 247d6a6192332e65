"""An authority for tests, and certificates of it as files."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from mesh.agent_ca import Pair, Wanted, make_authority, make_certificate


class Authority:
    """Makes certificates in a folder; `ca` is the path of its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._pair = make_authority(time.time(), 30)
        self.ca = str(self._write(name, self._pair)[0])

    def _write(self, name: str, pair: Pair) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_text(pair.certificate)
        key.write_text(pair.key)
        return certificate, key

    def files(self, name: str, wanted: Wanted) -> dict[str, str]:
        """A certificate under this name, as the settings of an interface: ca_file, cert_file, key_file."""
        certificate, key = self._write(name, make_certificate(self._pair, wanted, time.time()))
        return {"ca_file": self.ca, "cert_file": str(certificate), "key_file": str(key)}

    def context(self, files: dict[str, str], server_side: bool, verify: bool = True) -> ssl.SSLContext:
        """An OpenSSL context with these files; the names in certificates are not looked at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        context.load_verify_locations(files["ca_file"])
        if "cert_file" in files:
            context.load_cert_chain(files["cert_file"], files["key_file"])
        return context
