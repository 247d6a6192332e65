"""A client that asks a server for one key every few milliseconds: `python -m benchmarks.probe PORT`.

When its standard input ends it prints, as JSON, how long its answers took (seconds): the longest and the 99th
percentile. What a server's event loop does to others shows here. It is a process of its own, so that it is not held up
by whoever makes the load.
"""

import json
import select
import socket
import sys
import time

from benchmarks.measure import percentile

REQUEST = b"GET /v1/kv/probe?raw HTTP/1.1\r\nHost: x\r\n\r\n"
PAUSE = 0.002


def main() -> None:
    """Ask until standard input ends."""
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            begin = time.perf_counter()
            connection.sendall(REQUEST)
            if not connection.recv(4096):
                raise ConnectionResetError("the server closed the connection")
            took.append(time.perf_counter() - begin)
            if select.select([sys.stdin], [], [], PAUSE)[0] and not sys.stdin.read(1):
                break
    print(json.dumps({"longest": max(took), "p99": percentile(took, 0.99), "count": len(took)}))


if __name__ == "__main__":
    main()
