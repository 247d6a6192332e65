"""Files and pieces of configuration, laid on top of each other; unknown keys are errors with a suggestion."""

import os
import stat
from pathlib import Path
from typing import Any

from agent.config.schema import SCHEMA, canonical, merged_values, unknown_keys
from agent.config.settings import ConfigError
from model.config_json import MAX_JSON, HclError, parse_json_text
from model.goerrors import go_text
from model.hcl import parse_hcl

MAX_FILES = 10_000
"""Files that a folder of configuration may have."""
_LISTS = ("services", "checks", "watches", "segments", "config_entries")


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
            found.extend((str(child), _read(child, config_format)) for child in _files_of(path, config_format))
        elif config_format or path.suffix in (".json", ".hcl"):
            found.append((value, _read(path, config_format)))
        else:
            raise ConfigError(f"config: file {value} has unsupported extension: use .json or .hcl, or -config-format")
    return found


def _read(path: Path, config_format: str) -> dict[str, Any]:
    try:
        raw = _bounded(path)
    except OSError as error:
        raise ConfigError(f"config: ReadFile failed on {path}: {go_text(error)}") from None
    if len(raw) > MAX_JSON:
        raise ConfigError(f"config: file {path} is too large: it has more than {MAX_JSON} bytes")
    if (at := raw.find(b"\0")) >= 0:
        raise ConfigError(f"config: file {path} is no text: byte {at} is zero")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"config: file {path} is no UTF-8 text: byte {error.start} is not valid") from None
    return _parse(str(path), text, config_format or path.suffix[1:])


def _bounded(path: Path) -> bytes:
    """A file's bytes, one more than are allowed at most; a pipe is read to its end, a device never."""
    with path.open("rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise OSError("it is neither a file nor a pipe")
        return file.read(MAX_JSON + 1)


def _parse(name: str, text: str, kind: str) -> dict[str, Any]:
    try:
        return parse_json_text(text) if kind == "json" else parse_hcl(text)
    except HclError as error:
        raise ConfigError(f"failed to parse {name}: {error}") from None


def _files_of(folder: Path, config_format: str) -> list[Path]:
    """The files of a folder (not of those below) that are configuration, by name."""
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"config: ReadDir failed on {folder}: {go_text(error)}") from None
    files = [one for one in children if one.is_file() and (config_format or one.suffix in (".json", ".hcl"))]
    if len(files) > MAX_FILES:
        raise ConfigError(f"config: folder {folder} has {len(files)} files, {MAX_FILES} at most")
    return files


def merge(sources: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Sources on top of each other: later values win, lists grow, maps are merged. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for name, source in sources:
        problems = unknown_keys(source)
        if problems:
            listed = "\n\t".join(f"* {problem}" for problem in problems)
            noun = "error" if len(problems) == 1 else "errors"
            raise ConfigError(f"failed to parse {name}: {len(problems)} {noun} occurred:\n\t{listed}\n\n")
        try:
            shaped = canonical(source, SCHEMA)
            for key, value in shaped.items():
                if value is not None:
                    _merge_key(merged, key, value)
        except ConfigError as error:
            raise ConfigError(f"failed to parse {name}: {error}") from None
    return merged


def _merge_key(merged: dict[str, Any], key: str, value: Any) -> None:
    if key in ("service", "check"):
        if isinstance(value, list) and len(value) > 1:
            raise ConfigError(f"{key}: use {key}s for more than one")
        key = f"{key}s"
    elif key == "config_entries":
        value = value.get("bootstrap") or []
    if key in _LISTS and isinstance(value, dict):
        value = [value]
    merged[key] = merged_values(merged[key], value) if key in merged else value
