"""Files and pieces of configuration, laid on top of each other; unknown keys are errors with a suggestion."""

import re
from pathlib import Path
from typing import Any

from agent.config.flags import suggest
from agent.config.keys import KNOWN, NESTED
from agent.config.settings import ConfigError
from model.config_json import HclError, parse_json_text
from model.hcl import parse_hcl

_LISTS = (
    *("retry_join", "start_join", "retry_join_wan", "start_join_wan", "recursors", "services", "checks"),
    *("config_entries", "serf_lan_allowed_cidrs", "serf_wan_allowed_cidrs"),
)


def read_sources(sources: list[tuple[str, str]], config_format: str) -> list[tuple[str, dict[str, Any]]]:
    """Every file that is named, parsed, in order. Raises ConfigError."""
    if config_format not in ("", "json", "hcl"):
        raise ConfigError("config: -config-format must be either 'hcl' or 'json'")
    found: list[tuple[str, dict[str, Any]]] = []
    for kind, value in sources:
        if kind == "hcl":
            found.append(("flag -hcl", _parse("flag -hcl", value, "hcl")))
            continue
        path = Path(value)
        if not path.exists():
            raise ConfigError(f"config: ReadPath failed on {value}: open {value}: no such file or directory")
        if path.is_dir():
            for child in sorted(path.iterdir()):
                if child.is_file() and (config_format or child.suffix in (".json", ".hcl")):
                    found.append((str(child), _read(child, config_format)))
        elif config_format or path.suffix in (".json", ".hcl"):
            found.append((value, _read(path, config_format)))
        else:
            raise ConfigError(f"config: file {value} has unsupported extension: use .json or .hcl, or -config-format")
    return found


def _read(path: Path, config_format: str) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config: ReadFile failed on {path}: {error}") from None
    return _parse(str(path), text, config_format or path.suffix[1:])


def _parse(name: str, text: str, kind: str) -> dict[str, Any]:
    try:
        return parse_json_text(text) if kind == "json" else parse_hcl(text)
    except HclError as error:
        raise ConfigError(f"failed to parse {name}: {error}") from None


def snake(key: str) -> str:
    """A key in the spelling of files: `NodeName` is `node_name`."""
    if "_" in key or key.islower():
        return key.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()


def merge(sources: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Sources on top of each other: later values win, lists grow, maps are merged. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for name, source in sources:
        unknown = []
        for key, value in source.items():
            folded = snake(key)
            if folded not in KNOWN:
                unknown.append(f"invalid config key {key}{suggest(folded, KNOWN)}")
                continue
            if folded in NESTED:
                value = section_of(value)
                known = NESTED[folded]
                unknown.extend(
                    f"invalid config key {folded}.{sub}{suggest(snake(sub), known)}"
                    for sub in value
                    if snake(sub) not in known
                )
                value = {snake(sub): item for sub, item in value.items()}
            _merge_key(merged, name, folded, value)
        if unknown:
            listed = "\n\t".join(f"* {problem}" for problem in unknown)
            noun = "error" if len(unknown) == 1 else "errors"
            raise ConfigError(f"failed to parse {name}: {len(unknown)} {noun} occurred:\n\t{listed}\n\n")
    return merged


def section_of(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        joined: dict[str, Any] = {}
        for item in value:
            joined.update(section_of(item))
        return joined
    if not isinstance(value, dict):
        raise ConfigError(f"expected a section, got {value!r}")
    return value


def _merge_key(merged: dict[str, Any], source: str, key: str, value: Any) -> None:
    if key in ("service", "check"):
        if isinstance(value, list) and len(value) > 1:
            raise ConfigError(f"failed to parse {source}: {key}: use {key}s for more than one")
        merged.setdefault(f"{key}s", []).append(value[0] if isinstance(value, list) else value)
    elif key == "recursor":
        merged.setdefault("recursors", []).append(value)
    elif key == "config_entries":
        bootstrap = section_of(value).get("bootstrap") or []
        merged.setdefault(key, []).extend(bootstrap if isinstance(bootstrap, list) else [bootstrap])
    elif key in _LISTS:
        merged.setdefault(key, []).extend(value if isinstance(value, list) else [value])
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        _merge_key(merged, source, key, section_of(value))
    elif key == "tls" and isinstance(value, dict) and isinstance(merged.get(key), dict):
        for section, settings in value.items():  # Each interface is a map of its own, which several files may fill.
            merged[key] = {**merged[key], section: {**section_of(merged[key].get(section, {})), **section_of(settings)}}
    elif isinstance(value, dict) and isinstance(merged.get(key), dict):
        merged[key] = {**merged[key], **value}
    else:
        merged[key] = value
