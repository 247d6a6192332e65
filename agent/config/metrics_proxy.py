"""`ui_config.metrics_proxy`: the metrics backend that the UI's questions are passed on to."""

import re
from urllib.parse import urlsplit

from agent.config.reader import Reader
from agent.config.settings import ConfigError, MetricsProxy

_OF_PROMETHEUS = ["/api/v1/query", "/api/v1/query_range"]
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def metrics_proxy_of(ui: Reader) -> MetricsProxy:
    """The settings below `ui_config`. Raises ConfigError naming the field."""
    read = ui.section("metrics_proxy")
    base = read.text("base_url")
    if base and not is_web_address(base):
        raise ConfigError("ui_config.metrics_proxy.base_url must be a valid http or https URL.")
    allowed = read.texts("path_allowlist")
    for path in allowed:
        if not path.startswith("/") or "//" in path or "/../" in f"{path}/" or "/./" in f"{path}/":
            raise ConfigError(f"ui_config.metrics_proxy.path_allowlist: {path!r} must be a clean absolute path")
    if not allowed and ui.text("metrics_provider") == "prometheus":
        allowed = _OF_PROMETHEUS
    headers = []
    for stanza in read.stanzas("add_headers"):
        name, value = stanza.get("name"), stanza.get("value", "")
        if not isinstance(name, str) or not _HEADER.fullmatch(name) or not isinstance(value, str):
            raise ConfigError("ui_config.metrics_proxy.add_headers: each needs a name that can be a header's")
        if any(ord(sign) < 32 for sign in value):
            raise ConfigError(f"ui_config.metrics_proxy.add_headers: {name!r} contains a line break")
        headers.append((name, value))
    return MetricsProxy(base_url=base.rstrip("/"), path_allowlist=allowed, add_headers=headers)


def is_web_address(text: str) -> bool:
    """Whether a text is the address of something that speaks HTTP or HTTPS."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
