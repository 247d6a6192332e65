"""Consul's filter expressions: parsed, checked against the fields of a struct, and compiled to a function.

`compile_filter(expression, cls)` is all that callers need; anybody may use it.
"""

from model.filter.errors import FilterError
from model.filter.evaluate import compile_filter

__all__ = ["FilterError", "compile_filter"]
