"""Network coordinates (Vivaldi): places in a space in which distances are round-trip times, in seconds.

Each acknowledged ping moves this member a little towards, or away from, the place that the other one says it has, until
the distance between the two is the time that was measured. With the same doubles in the same order serf computes the
same bits, which the tests hold.

Source: Dabek et al., Vivaldi; height, adjustment, gravity and the filter as serf publishes them.
"""

import math
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

from gossip import wire
from gossip.wire import GossipError

DIMENSIONS = 8
MOST_ERROR = 1.5
LEAST_HEIGHT = 1e-5
MOST_RTT = 10.0
MAX_FILTERS = 4096
_CE = _CC = 0.25
_ZERO = 1e-6
_GRAVITY_RHO = 150.0
_WINDOW = 20
_SAMPLES = 3
_VERSION = 1


@dataclass(frozen=True)
class Place:
    """A coordinate; `error` says how far it is to be trusted (0 to 1.5)."""

    vector: tuple[float, ...] = (0.0,) * DIMENSIONS
    error: float = MOST_ERROR
    adjustment: float = 0.0
    height: float = LEAST_HEIGHT

    @property
    def is_valid(self) -> bool:
        """Whether all its numbers are numbers."""
        return all(map(math.isfinite, (*self.vector, self.error, self.adjustment, self.height)))

    def raw_distance(self, other: "Place") -> float:
        """The round-trip time in seconds, without the adjustments."""
        return _length(_minus(self.vector, other.vector)) + self.height + other.height

    def distance(self, other: "Place") -> float:
        """The estimated round-trip time in seconds, cut to whole nanoseconds. Raises GossipError for other spaces."""
        if len(self.vector) != len(other.vector):
            raise GossipError("coordinates have different dimensions")
        raw = self.raw_distance(other)
        adjusted = raw + self.adjustment + other.adjustment
        nanoseconds = (adjusted if adjusted > 0 else raw) * 1e9
        return int(nanoseconds) / 1e9 if math.isfinite(nanoseconds) else nanoseconds

    def pushed(self, force: float, other: "Place", random: Random) -> "Place":
        """This place, moved by a force (seconds) away from another."""
        away = _minus(self.vector, other.vector)
        length = _length(away)
        if length > _ZERO:
            unit = tuple(one * (1.0 / length) for one in away)
        else:
            length, unit = 0.0, _random_unit(len(self.vector), random)
        vector = tuple(one + step * force for one, step in zip(self.vector, unit, strict=True))
        height = self.height
        if length > _ZERO:
            height = max(LEAST_HEIGHT, (self.height + other.height) * force / length + self.height)
        return Place(vector, self.error, self.adjustment, height)

    def encode(self) -> bytes:
        """The payload of an acknowledgement."""
        body = {
            "Adjustment": float(self.adjustment),
            "Error": float(self.error),
            "Height": float(self.height),
            "Vec": [float(one) for one in self.vector],
        }
        return bytes((_VERSION,)) + wire.pack(body)


def decode_place(payload: bytes) -> Place | None:
    """The coordinate in an acknowledgement; None when there is none of a kind that is known. Raises GossipError."""
    if payload[:1] != bytes((_VERSION,)):
        return None
    fields = wire.unpack(payload[1:])
    vector = fields.get("Vec")
    if not isinstance(vector, list) or len(vector) != DIMENSIONS:
        raise GossipError("Vec has not as many dimensions as it should")
    place = Place(
        tuple(_float({"Vec": one}, "Vec") for one in vector),
        _float(fields, "Error"),
        _float(fields, "Adjustment"),
        _float(fields, "Height"),
    )
    if not place.is_valid:
        raise GossipError("a coordinate has numbers that are none")
    return place


def _float(fields: dict[str, Any], key: str) -> float:
    value = fields.get(key, 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GossipError(f"{key} is not a number")
    return float(value)


class Vivaldi:
    """Where this member is, and how that changes with what is measured.

    Args:
        random: for the direction away from somebody who is at the same place.
        place: where to begin.
        samples: how many measurements to one member the median is taken of.
        window: how many measurements the adjustment remembers; 0 for none.
    """

    def __init__(
        self, random: Random, place: Place | None = None, samples: int = _SAMPLES, window: int = _WINDOW
    ) -> None:
        self.place = place or Place()
        self.resets = 0
        self._random = random
        self._samples = samples
        self._origin = Place(vector=(0.0,) * len(self.place.vector))
        self._window = [0.0] * window
        self._slot = 0
        self._filters: dict[str, deque[float]] = {}

    def update(self, name: str, other: Place, rtt: float) -> None:
        """A member at another place answered after so many seconds. Raises GossipError for what cannot be."""
        if len(other.vector) != len(self.place.vector) or not other.is_valid:
            raise GossipError("the other coordinate is of no use")
        if not math.isfinite(rtt) or not 0 <= rtt <= MOST_RTT:
            raise GossipError(f"round trip of {rtt} s is not in range")
        median = self.filtered(name, rtt)
        rtt = max(median, _ZERO)
        me = self.place
        distance = me.distance(other)
        wrongness = abs(distance - rtt) / rtt
        weight = me.error / max(me.error + other.error, _ZERO)
        error = min(MOST_ERROR, _CE * weight * wrongness + me.error * (1.0 - _CE * weight))
        me = Place(me.vector, error, me.adjustment, me.height)
        me = me.pushed(_CC * weight * (rtt - distance), other, self._random)
        if self._window:
            # Added up in the order of the slots, as serf does: another order gives other last bits.
            self._window[self._slot] = median - me.raw_distance(other)
            self._slot = (self._slot + 1) % len(self._window)
            me = Place(me.vector, me.error, sum(self._window) / (2.0 * len(self._window)), me.height)
        pull = self._origin.distance(me) / _GRAVITY_RHO
        me = me.pushed(-1.0 * pull**2, self._origin, self._random)
        if not me.is_valid:
            me = Place(vector=self._origin.vector)
            self._window = [0.0] * len(self._window)
            self.resets += 1
        self.place = me

    def filtered(self, name: str, rtt: float) -> float:
        """The median of the last measurements to a member, this one included."""
        if name not in self._filters and len(self._filters) >= MAX_FILTERS:
            self._filters.clear()
        last = self._filters.setdefault(name, deque(maxlen=self._samples))
        last.append(rtt)
        return sorted(last)[len(last) // 2]

    def forget(self, name: str) -> None:
        """A member is gone."""
        self._filters.pop(name, None)


def _minus(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(x - y for x, y in zip(a, b, strict=True))


def _length(vector: tuple[float, ...]) -> float:
    total = 0.0
    for one in vector:
        total += one * one
    return math.sqrt(total)


def _random_unit(dimensions: int, random: Random) -> tuple[float, ...]:
    while True:
        vector = tuple(random.random() - 0.5 for _ in range(dimensions))
        length = _length(vector)
        if length > _ZERO:
            return tuple(one * (1.0 / length) for one in vector)
