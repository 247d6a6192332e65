"""Requests by the thousand: through `wrk` where it is installed (Debian: apt install wrk), else by our own client."""

import asyncio
import itertools
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_load import load


@dataclass(frozen=True)
class Workload:
    """Requests that are all alike, but for a number.

    A `%d` in `path` and one in `body` become a number from 0 up to `modulus`, another one in each request.
    """

    method: str = "GET"
    path: str = "/"
    body: str = ""
    modulus: int = 1 << 30

    def request(self, number: int) -> bytes:
        """One request."""
        number %= self.modulus
        path = self.path.replace("%d", str(number))
        body = self.body.replace("%d", str(number)).encode()
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{self.method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n".encode() + body

    def script(self, start: int) -> str:
        """The same for wrk."""

        def expression(text: str) -> str:
            parts = [f"[==[{part}]==]" for part in text.split("%d")]
            return "..string.format('%d', n % m)..".join(parts)

        body = expression(self.body) if self.body else "nil"
        return (
            f"local c, m = {start}, {self.modulus}\n"
            f"request = function() c = c + 1; local n = c; "
            f"return wrk.format('{self.method}', {expression(self.path)}, nil, {body}) end\n"
        )


_DONE = re.compile(r"(\d+) requests in")
_starts = itertools.count(1)


def has_wrk() -> bool:
    """Whether wrk is there."""
    return shutil.which("wrk") is not None


async def drive(port: int, work: Workload, clients: int, seconds: float) -> int:
    """Load a server on 127.0.0.1 for about so long and return how many requests it answered.

    Every run begins at other numbers. Raises RuntimeError when a request is refused.
    """
    start = next(_starts) * 1_000_003
    if not has_wrk():
        return await _by_ourselves(port, work, clients, seconds, start)
    with tempfile.TemporaryDirectory(prefix="lictor-bench-") as folder:
        words = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s"]
        path = work.path
        if "%d" in work.path or work.body or work.method != "GET":
            script = Path(folder) / "load.lua"
            script.write_text(work.script(start))
            words += ["-s", str(script)]
            path = "/"
        process = await asyncio.create_subprocess_exec(
            *words, f"http://127.0.0.1:{port}{path}", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(seconds + 60):
                output = (await process.communicate())[0].decode(errors="replace")
        finally:
            if process.returncode is None:
                process.kill()
    done = _DONE.search(output)
    if done is None or "Non-2xx" in output or not int(done[1]):
        raise RuntimeError(f"{work.method} {work.path}: wrk says {output}")
    return int(done[1])


async def _by_ourselves(port: int, work: Workload, clients: int, seconds: float, start: int) -> int:
    """Batches until the time is over."""
    numbers = itertools.count(start)
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    batch, answered = clients, 0
    while loop.time() < ends:
        begin = loop.time()
        answered += (await load([port], lambda: work.request(next(numbers)), batch, clients)).answered
        took = max(loop.time() - begin, 1e-6)
        batch = max(clients, min(batch * 4, int(batch * max(0.1, ends - loop.time()) / took)))
    return answered
