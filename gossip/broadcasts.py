"""What is still to be told to others, and how often: messages that were told least go first."""

import math


def transmit_limit(multiplier: int, members: int) -> int:
    """How often a message is sent in a pool of so many members."""
    return multiplier * math.ceil(math.log10(members + 1))


class Broadcasts:
    """A queue. A message about a name replaces an older one about the same name."""

    def __init__(self, multiplier: int) -> None:
        self._multiplier = multiplier
        self._items: list[tuple[int, int, int, str, bytes]] = []
        self._counter = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, data: bytes, name: str = "") -> None:
        """Queue a message, about a name if one is given."""
        if name:
            self._items = [item for item in self._items if item[3] != name]
        self._counter += 1
        self._items.append((0, -len(data), -self._counter, name, data))

    def take(self, space: int, overhead: int, members: int) -> list[bytes]:
        """Messages that fit into `space` bytes, each costing `overhead` more; they count as sent."""
        if not self._items:
            return []
        limit = transmit_limit(self._multiplier, members)
        self._items.sort()
        taken, kept = [], []
        for item in self._items:
            sent, size, age, name, data = item
            if len(data) + overhead <= space:
                space -= len(data) + overhead
                taken.append(data)
                if sent + 1 < limit:
                    kept.append((sent + 1, size, age, name, data))
            else:
                kept.append(item)
        self._items = kept
        return taken

    def prune(self, keep: int) -> None:
        """Drop all but `keep` messages, those that were sent most first."""
        if len(self._items) > keep:
            self._items.sort()
            del self._items[keep:]
