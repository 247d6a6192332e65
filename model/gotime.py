"""Go's `time.Time` on the wire: nanoseconds and the zone's offset survive a round trip, unlike in a `datetime`.

Source: the binary form of `time.Time` as snapshots and RPC carry it (15 bytes, or 16 when the offset has seconds),
and the RFC 3339 text that Go writes into JSON.
"""

import re
import struct
from typing import NamedTuple

_YEAR_ONE = 62135596800
"""Seconds from 0001-01-01T00:00:00Z to the Unix epoch."""

UTC_OFFSET = -1
"""The offset value by which Go marks UTC (as opposed to a local zone whose offset happens to be 0)."""

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


class GoTime(NamedTuple):
    """An instant: `seconds` since the Unix epoch, `nanoseconds` in the second, zone `offset` in minutes (-1: UTC)."""

    seconds: int = -_YEAR_ONE
    nanoseconds: int = 0
    offset: int = UTC_OFFSET

    @property
    def is_zero(self) -> bool:
        """Whether this is Go's zero time, 0001-01-01T00:00:00Z."""
        return self.seconds == -_YEAR_ONE and self.nanoseconds == 0

    @property
    def unix(self) -> float:
        """Seconds since the Unix epoch, with the fraction that a float can hold."""
        return self.seconds + self.nanoseconds / 1e9

    @classmethod
    def from_unix(cls, seconds: float) -> "GoTime":
        """The UTC instant `seconds` after the Unix epoch."""
        whole = int(seconds // 1)
        return cls(whole, min(999_999_999, int((seconds - whole) * 1e9)))

    @classmethod
    def from_unix_nanoseconds(cls, nanoseconds: int) -> "GoTime":
        """The UTC instant `nanoseconds` after the Unix epoch."""
        return cls(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)

    def to_bytes(self) -> bytes:
        """The binary form (version byte, seconds since year one, nanoseconds, offset)."""
        return struct.pack(">Bqih", 1, self.seconds + _YEAR_ONE, self.nanoseconds, self.offset)

    @classmethod
    def from_bytes(cls, data: bytes) -> "GoTime":
        """Read the binary form; raises ValueError when it is not one."""
        if len(data) not in (15, 16) or data[0] not in (1, 2):
            raise ValueError(f"not a binary time: {len(data)} bytes")
        _, seconds, nanoseconds, offset = struct.unpack(">Bqih", data[:15])
        return cls(seconds - _YEAR_ONE, nanoseconds, offset)

    def rfc3339(self) -> str:
        """Go's RFC 3339 text: as many digits of the fraction as needed, `Z` for UTC and for offset 0."""
        offset = 0 if self.offset == UTC_OFFSET else self.offset
        days, second = divmod(self.seconds + offset * 60, 86400)
        year, month, day = _civil_from_days(days)
        fraction = f".{self.nanoseconds:09d}".rstrip("0") if self.nanoseconds else ""
        if offset == 0:
            zone = "Z"
        else:
            zone = f"{'+' if offset > 0 else '-'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
        clock = f"{second // 3600:02d}:{second % 3600 // 60:02d}:{second % 60:02d}"
        return f"{year:04d}-{month:02d}-{day:02d}T{clock}{fraction}{zone}"

    @classmethod
    def parse(cls, text: str) -> "GoTime":
        """Read RFC 3339 text; raises ValueError naming the text when it is not one."""
        match = _RFC3339.fullmatch(text)
        if match is None:
            raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        in_day = hour < 24 and minute < 60 and second < 60
        if not (in_day and 1 <= month <= 12 and 1 <= day <= _days_in_month(year, month)):
            raise ValueError(f'parsing time "{text}": day out of range')
        offset = UTC_OFFSET
        minutes = 0
        if match[8] is None:
            minutes = (int(match[10]) * 60 + int(match[11])) * (1 if match[9] == "+" else -1)
            offset = minutes
        nanoseconds = int((match[7] or "0").ljust(9, "0")[:9])
        seconds = _days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - minutes * 60
        return cls(seconds, nanoseconds, offset)


ZERO_TIME = GoTime()


def _days_in_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the proleptic Gregorian calendar (works for every year, unlike `datetime`)."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def _civil_from_days(days: int) -> tuple[int, int, int]:
    days += 719468
    era = days // 146097
    day_of_era = days - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1
