"""py-consul's own test-suite, from its source distribution, against a lictor agent.

`py_consul_conftest.py` stands in for the suite's fixtures and names the tests that cannot pass yet. Health checks of
the suite go to port 8500, so suite and agent run in a network namespace of their own (and, to end together, in a
process namespace).
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from tests.clients.fetch import fetch, run
from tests.support import process
from tests.support.tools import need_program, need_root

VERSION = "1.8.0"
HASHES = (
    "sha256:242f45d66c97224ecd04ba1dd4eb71053ed5a38dc7bb9b9387d2a882f7352d59",
    "sha256:ed9ab0adb335d33ea84f7622f372411f8e288bb09aee5e7632264d28d285a52c",
)
ACLS_ONLY = ("tests/api/test_acl.py", "tests/api/test_acl_templated_policy.py")


def unpack_suite(folder: Path) -> Path:
    """Fetch py-consul's source distribution into a folder; returns its root, with lictor's fixtures in place."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"py-consul=={VERSION} {' '.join(f'--hash={value}' for value in HASHES)}\n")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    fetch((*pip, "--no-deps", "--no-binary=:all:", "--require-hashes", "-r", wanted), folder)
    with tarfile.open(folder / f"py_consul-{VERSION}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    root = folder / f"py_consul-{VERSION}"
    shutil.copy(Path(__file__).with_name("py_consul_conftest.py"), root / "conftest.py")
    shutil.copy(process.__file__, root / "lictor_process.py")
    return root


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_its_own_suite_passes(tmp_path: Path) -> None:
    need_root()
    unshare = need_program("unshare")
    need_program("ip")
    root = unpack_suite(tmp_path)
    options = ["-q", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-rfEX"]
    left_out = [f"--ignore={path}" for path in ACLS_ONLY]
    suite = [sys.executable, "-m", "pytest", *options, *left_out, "tests"]
    alone = [unshare, "--net", "--pid", "--fork", "--kill-child", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    done = run([*alone, *suite], root, {}, 250)
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout.splitlines()[-1], done.stdout[-1000:]
