"""A cable that is slow in one direction: `delay_relay.py SLOW FAST MILLISECONDS` joins two network devices.

Frames that arrive at SLOW leave at FAST that much later; frames that arrive at FAST leave at SLOW at once. For kernels
without `tc netem`; runs in the namespace where the two devices are, until it is killed.
"""

import select
import socket
import sys
import time
from collections import deque

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_OUTGOING = 4
ETH_P_ALL = 3
MAX_FRAME = 10 + 14 + 4 + 65536
"""A frame may be a whole segment that the kernel has not cut into packets yet; the header says so."""
MAX_WAITING = 100_000


def open_device(name: str) -> socket.socket:
    """A raw socket; each frame carries the header that says what of its checksums and its cutting is still to do."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((name, ETH_P_ALL))
    made.setblocking(False)
    return made


def frames(device: socket.socket) -> list[bytes]:
    """What has arrived (not what was sent)."""
    found: list[bytes] = []
    while True:
        try:
            data, address = device.recvfrom(MAX_FRAME)
        except BlockingIOError:
            return found
        if address[2] != PACKET_OUTGOING:
            found.append(data)


def put(device: socket.socket, frame: bytes) -> None:
    """Send a frame; one that does not go is lost, as on any network."""
    try:
        device.send(frame)
    except OSError:
        pass


def main() -> None:
    """Relay until killed."""
    slow, fast = open_device(sys.argv[1]), open_device(sys.argv[2])
    seconds = int(sys.argv[3]) / 1000
    waiting: deque[tuple[float, bytes]] = deque(maxlen=MAX_WAITING)
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([slow, fast], [], [], pause)
        now = time.monotonic()
        if fast in readable:
            for frame in frames(fast):
                put(slow, frame)
        if slow in readable:
            waiting.extend((now + seconds, frame) for frame in frames(slow))
        while waiting and waiting[0][0] <= now:
            put(fast, waiting.popleft()[1])


if __name__ == "__main__":
    main()
