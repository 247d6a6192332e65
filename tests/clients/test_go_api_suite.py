"""The tests that Consul's own Go client comes with, unmodified: each starts `consul agent` with a configuration of its
own, which is our command here, and stops it again.

`NOT_YET` names the tests that fail. One that begins to pass fails this test, so that it leaves the list.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support.tools import need_program

PROGRAM = Path(__file__).with_name("go_api_suite")
PACKAGES = ("github.com/hashicorp/consul/api", "github.com/hashicorp/consul/api/watch")
FIXED = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
LEAST = {"api": 198, "watch": 14}
"""Tests that at least ran, so that none goes missing unnoticed."""

_PEERING = "lictor has no peering yet"
_PROFILES = "profiles and traces are the Go runtime's own"
NOT_YET = {
    **dict.fromkeys(
        (
            *("TestAPI_Peering_ACLDeny", "TestAPI_Peering_GenerateToken_ExternalAddresses"),
            *("TestAPI_Peering_GenerateToken_Read_Establish_Delete", "TestAPI_Peering_List"),
            "TestAPI_Peering_Read_ErrorHandling",
        ),
        _PEERING,
    ),
    "TestAPI_ClientTLSOptions": "expects Go's old alert (bad certificate) where OpenSSL says that one is required",
    **dict.fromkeys(
        ("TestAPI_DebugGoroutine", "TestAPI_DebugHeap", "TestAPI_DebugProfile", "TestAPI_DebugTrace"), _PROFILES
    ),
}
"""The tests that fail, each with its reason."""
_OUTCOME = re.compile(r"^--- (PASS|FAIL|SKIP): (\w+) ", re.MULTILINE)


def build(package: str, target: Path) -> None:
    """Build a package's own tests."""
    built = run([need_program("go"), "test", "-c", "-o", target, package], PROGRAM, FIXED, 240)
    assert built.returncode == 0, built.stdout[-3000:]


def make_files(folder: Path) -> Path:
    """The folder for the tests to run in. Beside it lie the certificates that they want, which no module carries, and
    `bin/consul`, which is our command."""
    here, bin_, made = folder / "api", folder / "bin", folder / "made"
    certificates, hosts, path = (folder / "test" / name for name in ("client_certs", "hostname", "ca_path"))
    for one in (here, bin_, made, certificates, hosts, path):
        one.mkdir(parents=True)
    command = bin_ / "consul"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m agent.cli.main "$@"\n')
    command.chmod(0o755)
    for words in ("ca create", "cert create -server -additional-dnsname=consul.test", "cert create -client"):
        done = run([command, "tls", *words.split()], made, {}, 60)
        assert done.returncode == 0, done.stdout
    for name in (certificates / "rootca.crt", hosts / "CertAuth.crt", path / "one.crt"):
        shutil.copy(made / "consul-agent-ca.pem", name)
    wanted = (("server", certificates / "server"), ("client", certificates / "client"), ("client", hosts / "Alice"))
    for role, name in wanted:
        shutil.copy(made / f"dc1-{role}-consul-0.pem", name.with_suffix(".crt"))
        shutil.copy(made / f"dc1-{role}-consul-0-key.pem", name.with_suffix(".key"))
    return here


def outcomes(binary: Path, here: Path, *options: str) -> tuple[dict[str, str], str]:
    """Run tests; returns what became of each, and what they said."""
    found = {"PATH": f"{here.parent / 'bin'}:{Path('/usr/bin')}:{Path('/bin')}", "TEST_LOGGING_ONLY_FAILED": "1"}
    done = run([binary, "-test.v", *options], here, found, 400)
    return {name: outcome for outcome, name in _OUTCOME.findall(done.stdout)}, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("package", PACKAGES)
def test_its_own_suite_passes(tmp_path: Path, package: str) -> None:
    go = need_program("go")
    fetch((go, "list", "-deps", "-test", *PACKAGES), PROGRAM, **FIXED)
    binary = tmp_path / "suite.test"
    build(package, binary)
    here = make_files(tmp_path)
    for at_once in (8, 2):  # A test that looks too early for something on a busy machine may end them all.
        ended, said = outcomes(binary, here, f"-test.parallel={at_once}", "-test.timeout=390s")
        if "panic: " not in said:
            break
    assert "panic: " not in said, said[said.index("panic: ") :][:3000]
    assert len(ended) >= LEAST[package.rpartition("/")[2]], sorted(ended)
    failed = {name for name, outcome in ended.items() if outcome == "FAIL"}
    if again := sorted(failed - NOT_YET.keys()):
        # An agent has two seconds to answer, which a busy machine may not give it: whatever is wrong is wrong twice.
        words = (f"-test.run=^({'|'.join(again)})$", "-test.parallel=1", "-test.timeout=390s")
        ended_again, said = outcomes(binary, here, *words)
        assert {name for name, outcome in ended_again.items() if outcome == "FAIL"} == set(), said[-8000:]
    passed = {name for name, outcome in ended.items() if outcome == "PASS"}
    assert passed & NOT_YET.keys() == set(), "these pass: they leave the list"
