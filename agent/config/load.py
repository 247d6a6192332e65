"""Defaults, then files in order, then flags become one `Config`."""

from typing import Any

from agent.config.advice import warnings_of
from agent.config.build import build
from agent.config.check import check_start
from agent.config.flags import parse_flags
from agent.config.gossip import gossip_warnings
from agent.config.reader import Reader
from agent.config.settings import Config
from agent.config.sources import merge, read_sources


def load_config(argv: list[str]) -> tuple[Config, list[str]]:
    """The configuration that an agent was started with, and warnings. Raises ConfigError."""
    flags, sources, dev, config_format = parse_flags(argv)
    config, warnings = _typed(merge([*read_sources(sources, config_format), ("flags", flags)]), dev)
    check_start(config)
    return config, warnings


def validate(sources: list[tuple[str, str]], config_format: str) -> list[str]:
    """Judge files and folders (kind and path of each) for `lictor validate`; returns warnings. Raises ConfigError."""
    return _typed(merge(read_sources(sources, config_format)), False)[1]


def watched_files(argv: list[str]) -> list[str]:
    """The files and folders that an agent's configuration was read from. Raises ConfigError."""
    return [path for kind, path in parse_flags(argv)[1] if kind != "hcl"]


def _typed(merged: dict[str, Any], dev: bool) -> tuple[Config, list[str]]:
    config = build(Reader(merged), dev)
    return config, [*warnings_of(merged, config), *gossip_warnings(config.gossip, config.server)]
