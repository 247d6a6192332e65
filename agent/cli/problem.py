"""The errors that a command cannot work around. The exit code is 1 for both."""


class Problem(Exception):
    """What the user is told, as it is: the text names what is wrong and why."""


class ApiError(Exception):
    """The agent cannot be reached (`status` is 0) or refuses; the text says why."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
