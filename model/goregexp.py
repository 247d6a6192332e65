"""Regular expressions as Go has them, by RE2: the same syntax, the same matches, the texts of Go's errors.

Patterns come from whoever can send a request, so matching takes time in proportion to the text whatever the pattern
(Python's own engine can take years), and a pattern's program and states are bounded.
"""

import functools
import re

import re2

MAX_LENGTH = 1000
MAX_MEMORY = 512 << 10
"""Bytes that one pattern may take, its states while it matches among them."""
KEPT = 128
"""How many patterns are kept compiled."""
_PROBLEMS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "bad repetition size": "invalid repeat count",
    "trailing \\": "trailing backslash at end of expression",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "pattern too large - compile failed": "expression too large",
}
"""What RE2 says, and how Go puts it."""
_PROBLEM = re.compile(r"(missing \)|unexpected \)|missing \]|[^:]+)(?:: (.*))?", re.DOTALL)


class RegexpError(ValueError):
    """Not a regular expression; the text is Go's."""


class Regexp:
    """A compiled pattern. Texts may hold bytes that are not UTF-8, as surrogates."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_LENGTH:
            raise RegexpError("error parsing regexp: expression is too long")
        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        try:
            self._compiled = re2.compile(_bytes(pattern), options)
        except re2.error as error:
            raise RegexpError(_go_error(error, pattern)) from None

    def found_in(self, text: str) -> bool:
        """Whether the pattern fits somewhere in a text."""
        return self._compiled.search(_bytes(text)) is not None

    def groups(self, text: str) -> tuple[str, ...]:
        """What the first fit in a text is, then its groups ("" for those that took no part); () when none is there."""
        match = self._compiled.search(_bytes(text))
        if match is None:
            return ()
        return tuple((part or b"").decode("utf-8", "surrogateescape") for part in (match[0], *match.groups()))


@functools.lru_cache(maxsize=KEPT)
def compile_regexp(pattern: str) -> Regexp:
    """Compile a pattern of Go's syntax. Raises RegexpError."""
    return Regexp(pattern)


def _bytes(text: str) -> bytes:
    """As UTF-8; a lone surrogate that stands for no byte becomes `?`, which can only come from a JSON escape."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _go_error(error: Exception, pattern: str) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    found = _PROBLEM.fullmatch(text)
    problem, where = (found[1], found[2]) if found else (text, None)
    if problem == "expression too large" or problem.startswith("pattern too large"):
        return "error parsing regexp: expression too large"
    shown = where if where is not None else "" if problem.startswith("trailing") else pattern
    return f"error parsing regexp: {_PROBLEMS.get(problem, problem)}: `{shown}`"
