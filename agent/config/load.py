"""Defaults, then files in order, then flags become one `Config`."""

from agent.config.build import build
from agent.config.check import check_start
from agent.config.flags import parse_flags
from agent.config.gossip import gossip_warnings
from agent.config.keys import HONOURED
from agent.config.reader import Reader
from agent.config.settings import Config
from agent.config.sources import merge, read_sources
from agent.config.tls import deprecations


def load_config(argv: list[str]) -> tuple[Config, list[str]]:
    """The configuration that an agent was started with, and warnings. Raises ConfigError."""
    flags, sources, dev, config_format = parse_flags(argv)
    merged = merge([*read_sources(sources, config_format), ("flags", flags)])
    warnings = [
        f"configuration key {key} is known but has no effect yet" for key in sorted(merged) if key not in HONOURED
    ]
    warnings += deprecations(merged)
    config = build(Reader(merged), dev)
    check_start(config)
    return config, [*warnings, *gossip_warnings(config.gossip, config.server)]
