"""Watches as configuration files define them: what is watched, and which handler is told."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agent.urls import bare_url
from agent.watch_types import Question, WrongWatch, question
from model.durations import SECOND, DurationError, parse_duration

HANDLER_KEYS = frozenset(("args", "datacenter", "handler", "handler_type", "http_handler_config", "token", "type"))
DEFAULT_TIMEOUT = 10.0


class Script(NamedTuple):
    """A command that is told on its standard input; `shell`: one line for a shell."""

    words: tuple[str, ...]
    shell: bool


class HttpHandler(NamedTuple):
    """An address that is told in a request's body. `timeout` in seconds."""

    url: str
    method: str
    headers: tuple[tuple[str, str], ...]
    timeout: float
    verify: bool


class WatchDefinition(NamedTuple):
    """A watch: the question that is asked again and again, and who hears the answers."""

    kind: str
    question: Question
    datacenter: str
    token: str
    handler: Script | HttpHandler


def parse(raw: dict[str, Any]) -> WatchDefinition:
    """A watch's definition. Raises WrongWatch."""
    given = {key.lower(): value for key, value in raw.items() if value not in (None, "")}
    kind = given.get("type", "")
    if not isinstance(kind, str):
        raise WrongWatch(f"type: expected a text, got {kind!r}")
    watched = {key: _parameter(key, value) for key, value in given.items() if key not in HANDLER_KEYS}
    return WatchDefinition(
        kind,
        question(kind, watched),
        _text(given, "datacenter"),
        _text(given, "token"),
        _handler(given),
    )


def _text(given: dict[str, Any], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise WrongWatch(f"{key}: expected a text, got {value!r}")
    return value


def _parameter(key: str, value: Any) -> Any:
    if key == "tag":
        tags = [value] if isinstance(value, str) else value
        if not isinstance(tags, list) or not all(isinstance(one, str) for one in tags):
            raise WrongWatch(f"tag: expected a text or a list of texts, got {value!r}")
        return tags
    if key == "passingonly" and isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise WrongWatch(f"{key}: expected a text, got {value!r}")
    return value


def _handler(given: dict[str, Any]) -> Script | HttpHandler:
    kind = given.get("handler_type") or ("http" if "http_handler_config" in given else "script")
    if kind == "script":
        if "http_handler_config" in given:
            raise WrongWatch('http_handler_config needs handler_type = "http"')
        return _script(given)
    if kind != "http":
        raise WrongWatch(f"Handler type '{kind}' not recognized")
    if "args" in given or "handler" in given:
        raise WrongWatch("Only one watch handler allowed: args or handler beside an http handler")
    return _http(given.get("http_handler_config"))


def _script(given: dict[str, Any]) -> Script:
    words, line = given.get("args"), given.get("handler")
    if words is not None and line is not None:
        raise WrongWatch("Only one watch handler allowed: args or handler")
    if words is not None:
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise WrongWatch(f"args: expected a list of texts, got {words!r}")
        return Script(tuple(words), False)
    if line is None:
        raise WrongWatch("Must define a watch handler")
    if not isinstance(line, str):
        raise WrongWatch(f"handler: expected a text, got {line!r}")
    return Script((line,), True)


def _http(config: Any) -> HttpHandler:
    if isinstance(config, list) and len(config) == 1:
        config = config[0]
    if not isinstance(config, dict):
        raise WrongWatch("http_handler_config: expected a stanza with a path")
    url = config.get("path")
    if not isinstance(url, str) or not url:
        raise WrongWatch("Requires 'path' to be set in http_handler_config")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise WrongWatch(f"http_handler_config.path: {bare_url(url)!r} is no http or https URL")
    method = config.get("method") or "POST"
    if not isinstance(method, str) or not method.isascii() or not method.isalpha():
        raise WrongWatch(f"http_handler_config.method: {method!r} is no method")
    timeout = config.get("timeout", "")
    try:
        seconds = parse_duration(timeout) / SECOND if timeout else DEFAULT_TIMEOUT
    except (DurationError, TypeError, AttributeError):
        raise WrongWatch(f"http_handler_config.timeout: {timeout!r} is no duration") from None
    if seconds <= 0:
        raise WrongWatch("http_handler_config.timeout must be above zero")
    skip = config.get("tls_skip_verify", False)
    if not isinstance(skip, bool):
        raise WrongWatch(f"http_handler_config.tls_skip_verify: expected true or false, got {skip!r}")
    return HttpHandler(url, method.upper(), _headers(config.get("header")), seconds, not skip)


def _headers(raw: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if raw is None:
        return ()
    if not isinstance(raw, dict):
        raise WrongWatch(f"http_handler_config.header: expected a map, got {raw!r}")
    found = []
    for name, values in raw.items():
        for value in [values] if isinstance(values, str) else values if isinstance(values, list) else [None]:
            if not isinstance(value, str) or any(ord(sign) < 32 for sign in f"{name}{value}"):
                raise WrongWatch(f"http_handler_config.header.{name}: expected a list of texts")
            found.append((str(name), value))
    return tuple(found)
