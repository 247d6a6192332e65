"""Consul's filter expressions: parsed, checked against the fields of a struct, and compiled to a function.

`compile_filter(expression, cls)` is all that callers need; anybody may use it.
"""

from model.filter.errors import FilterError
from model.filter.evaluate import compile_filter
from model.filter.grammar import parse

__all__ = ["BAD_FILTER", "FilterError", "compile_filter", "is_expression"]

BAD_FILTER = "Failed to create boolean expression evaluator: "
"""What Consul says before the reason."""


def is_expression(text: str) -> bool:
    """Whether a text is an expression at all, whatever its selectors name."""
    try:
        parse(text)
    except FilterError:
        return False
    return True
