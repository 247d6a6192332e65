"""`tls ca create` and `tls cert create`: what TLS between agents, and HTTPS, need."""

import os
import re
import time
from pathlib import Path

from agent.cli.flags import Flags, fail
from mesh.agent_ca import Pair, Role, Wanted, make_authority, make_certificate
from mesh.certificates import CertificateError
from model.goerrors import go_text

MAX_FILE = 1 << 20


def create_ca(flags: Flags) -> int:
    """Make an authority in the working directory."""
    problem = _problem(flags)
    if problem:
        return fail(problem)
    domain = flags["domain"]
    constraints: tuple[str, ...] = ()
    if flags["name-constraint"]:
        constraints = tuple(dict.fromkeys((*flags["additional-name-constraint"], "localhost", domain)))
    elif flags["additional-name-constraint"]:
        return fail("-additional-name-constraint has no effect without -name-constraint")
    certificate, key = Path(f"{domain}-agent-ca.pem"), Path(f"{domain}-agent-ca-key.pem")
    for path in (certificate, key):
        if path.exists():
            return fail(f"{path} already exists.")
    try:
        pair = make_authority(
            time.time(), flags["days"], domain, flags["common-name"], flags["cluster-id"], constraints
        )
    except CertificateError as error:
        return fail(f"Error creating the CA: {error}")
    return _save(pair, certificate, key)


def create_certificate(flags: Flags) -> int:
    """Make a certificate for a server, a client agent or the CLI in the working directory."""
    problem = _problem(flags)
    if problem:
        return fail(problem)
    roles: list[Role] = ["server", "client", "cli"]
    chosen = [role for role in roles if flags[role]]
    if len(chosen) != 1:
        return fail("Please provide either -server, -client, or -cli")
    role = chosen[0]
    if flags["node"] and role != "server":
        return fail("-node requires -server")
    datacenter, domain = flags["dc"], flags["domain"]
    authority = Path(flags["ca"].replace("#DOMAIN#", domain))
    authority_key = Path(flags["key"].replace("#DOMAIN#", domain))
    try:
        signer = Pair(_read(authority), _read(authority_key))
    except (OSError, ValueError) as error:
        return fail(f"Error reading CA: {go_text(error)}")
    wanted = Wanted(
        role,
        datacenter,
        domain,
        flags["node"],
        tuple(flags["additional-dnsname"]),
        tuple(flags["additional-ipaddress"]),
        flags["days"],
    )
    if role == "server":
        print(
            "==> WARNING: Server Certificates grants authority to become a\n"
            "    server and access all state in the cluster including root keys\n"
            "    and all ACL tokens. Do not distribute them to production hosts\n"
            "    that are not server nodes. Store them as securely as CA keys."
        )
    print(f"==> Using {authority} and {authority_key}")
    try:
        pair = make_certificate(signer, wanted, time.time())
    except CertificateError as error:
        return fail(f"Error creating the certificate: {error}")
    number = 0
    while True:
        certificate = Path(f"{datacenter}-{role}-{domain}-{number}.pem")
        key = Path(f"{datacenter}-{role}-{domain}-{number}-key.pem")
        if not certificate.exists() and not key.exists():
            return _save(pair, certificate, key)
        number += 1


def _problem(flags: Flags) -> str:
    """What is wrong with arguments, or with names that also name files."""
    if flags.arguments:
        return f"Unexpected argument: {flags.arguments[0]}"
    for name in ("domain", "dc"):
        if name in flags.values and not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", flags[name]):
            return f"-{name}={flags[name]}: it must be letters, digits, - and _ between dots"
    return ""


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_FILE).decode("ascii")


def _save(pair: Pair, certificate: Path, key: Path) -> int:
    """Write both, the key for its owner alone; what exists is never written over."""
    for path, text, mode in ((certificate, pair.certificate, 0o644), (key, pair.key, 0o600)):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(handle, "w") as file:
                file.write(text)
        except OSError as error:
            return fail(f"Error writing {path}: {go_text(error)}")
        print(f"==> Saved {path}")
    return 0
