"""Typed access to merged settings."""

import math
import re
from collections.abc import Mapping
from typing import Any

from agent.config.schema import section_of
from agent.config.settings import ConfigError
from model.durations import SECOND, DurationError, parse_duration


class Reader:
    """Typed access to merged settings; errors name the key."""

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def _get(self, key: str) -> Any:
        return self._values.get(key)

    def given(self, key: str) -> bool:
        """Whether the key is there."""
        return self._get(key) is not None

    def _wrong(self, key: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self._path}{key}: expected {wanted}, got {self._get(key)!r}")

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool | dict | list):
            raise self._wrong(key, "text")
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self._wrong(key, "true or false")

    def number(self, key: str, default: int = 0) -> int:
        """An integer."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._wrong(key, "a number")
        return int(value)

    def fraction(self, key: str, default: float) -> float:
        """A number with a fraction, or `default`; not infinite."""
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(key, "a number")
        return float(value)

    def at_least(self, key: str, least: int, default: int, most: int = 1 << 62) -> int:
        """An integer within bounds."""
        value = self.number(key, default)
        if not least <= value <= most:
            bounds = f"at least {least}" if most == 1 << 62 else f"between {least} and {most}"
            raise ConfigError(f"{self._path}{key} cannot be {value}: it must be {bounds}")
        return value

    def one_of(self, key: str, choice: tuple[str, ...], default: str) -> str:
        """One of some words."""
        value = self.text(key, default)
        if value not in choice:
            raise ConfigError(f"{self._path}{key}: invalid value {value!r}: it must be one of {', '.join(choice)}")
        return value

    def seconds(self, key: str, default: float = 0.0) -> float:
        """A duration, as a text with a unit."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, 'a duration such as "10s"')
        try:
            return parse_duration(str(value)) / SECOND
        except DurationError:
            raise ConfigError(f"{self._path}{key}: invalid duration: {value}: {_reason(value)}") from None

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        value = self._get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return list(value)

    @property
    def values(self) -> Mapping[str, Any]:
        """All settings as they are."""
        return self._values

    def mapping(self, key: str) -> dict[str, Any]:
        """A map."""
        value = self._get(key)
        if value is None:
            return {}
        try:
            return section_of(value)
        except ConfigError:
            raise self._wrong(key, "a map") from None

    def stanzas(self, key: str) -> list[dict[str, Any]]:
        """A list of maps."""
        value = self._get(key) or []
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, "a list of definitions")
        return list(value)

    def section(self, key: str) -> "Reader":
        """The settings below a key."""
        return Reader(self.mapping(key), f"{self._path}{key}.")


def _reason(value: Any) -> str:
    try:
        parse_duration(str(value))
    except DurationError as error:
        return str(error)
    return ""
