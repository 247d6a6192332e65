"""What can go wrong with an auth method or a login; the texts are for the caller, without any secret in them."""


class SettingsProblem(ValueError):
    """An auth method is not configured rightly; the text names the setting."""


class RuleProblem(ValueError):
    """A binding rule cannot be used; the text says why."""


class Refused(Exception):
    """A credential proves nothing, or nobody could be asked about it; the text says why."""
