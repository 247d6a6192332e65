"""Regular expressions as Go writes them, matched by Python's engine, with the texts of Go's errors."""

import re

MAX_LENGTH = 1000
_ERRORS = {
    "missing ), unterminated subpattern": "missing closing )",
    "unterminated character set": "missing closing ]",
    "unbalanced parenthesis": "unexpected )",
    "nothing to repeat": "missing argument to repetition operator",
    "multiple repeat": "invalid nested repetition operator",
    "bad escape (end of pattern)": "trailing backslash at end of expression",
}


class RegexpError(ValueError):
    """Not a regular expression; the text is Go's."""


def compile_regexp(pattern: str) -> "re.Pattern[str]":
    """Compile a pattern of Go's syntax. Raises RegexpError.

    Classes of the POSIX kind inside brackets and Unicode properties, which Python does not have, are errors.
    """
    if len(pattern) > MAX_LENGTH:
        raise RegexpError("error parsing regexp: expression is too long")
    try:
        return re.compile(pattern.replace(r"\z", r"\Z"), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        reason = getattr(error, "msg", str(error))
        position = getattr(error, "pos", None)
        shown = pattern
        if reason in ("nothing to repeat", "multiple repeat") and position is not None:
            shown = pattern[position : position + 1] or pattern
        elif reason == "unterminated character set" and position is not None:
            shown = pattern[position:]
        raise RegexpError(f"error parsing regexp: {_ERRORS.get(reason, reason)}: `{shown}`") from None
