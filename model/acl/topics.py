"""The topics of rights: what answers depend on, besides the rows that they show."""

from model.tables import Topic

WHO_MAY: Topic = ("acl",)
"""Touched by what can change the rights of many tokens: policies, roles, a new default."""


def who_may(secret: str) -> Topic:
    """Touched by what changes the rights of one token: its own row."""
    return ("acl", secret or "anonymous")
