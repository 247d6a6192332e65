"""URLs as logs, outputs and answers may show them: without the credentials that can stand in them."""


def bare_url(url: str) -> str:
    """A URL without the name and password that may stand in it."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def redacted_url(url: str) -> str:
    """A URL with its password, if it has one, replaced as Go does that."""
    before, at, rest = url.partition("://")[2].partition("/")[0].rpartition("@")
    if not at or ":" not in before:
        return url
    return url.replace(f"{before}@{rest}", f"{before.partition(':')[0]}:xxxxx@{rest}", 1)
