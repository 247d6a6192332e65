"""What can be wrong with a filter expression."""


class FilterError(ValueError):
    """The expression cannot be read, or does not fit the rows; the text says where and why."""
