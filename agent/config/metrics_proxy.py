"""`ui_config.metrics_proxy`: the metrics backend that the UI's questions are passed on to."""

from urllib.parse import urlsplit

from agent.config.reader import Reader
from agent.config.settings import ConfigError, MetricsProxy

_OF_PROMETHEUS = ["/api/v1/query", "/api/v1/query_range"]


def metrics_proxy_of(ui: Reader) -> MetricsProxy:
    """The settings below `ui_config`. Raises ConfigError naming the field."""
    read = ui.section("metrics_proxy")
    base = read.text("base_url")
    if base:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError("ui_config.metrics_proxy.base_url must be a valid http or https URL.")
    allowed = read.texts("path_allowlist")
    for path in allowed:
        if not path.startswith("/"):
            raise ConfigError(f'ui_config.metrics_proxy.path_allowlist: "{path}" does not begin with a slash')
    if not allowed and ui.text("metrics_provider") == "prometheus":
        allowed = _OF_PROMETHEUS
    headers = []
    for stanza in read.stanzas("add_headers"):
        name, value = stanza.get("name"), stanza.get("value", "")
        if not isinstance(name, str) or not name or not isinstance(value, str):
            raise ConfigError("ui_config.metrics_proxy.add_headers: each needs a name and a value")
        if any(sign in name + value for sign in "\r\n\0"):
            raise ConfigError(f"ui_config.metrics_proxy.add_headers: {name!r} contains a line break")
        headers.append((name, value))
    return MetricsProxy(base_url=base.rstrip("/"), path_allowlist=allowed, add_headers=headers)
