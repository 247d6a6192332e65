"""Sessions: rows, requests and answers."""

from typing import Annotated

from model.codec import HIDDEN, NEVER_NULL, OMIT, Duration, Wire
from model.structs.base import Meta, Query


class ServiceCheck(Wire, frozen=True):
    """A service check that a session depends on."""

    id: str = ""
    namespace: str = ""


class Session(Wire, frozen=True):
    """A session: a promise to be alive, which locks and service health hang on."""

    behavior: str = ""
    checks: Annotated[list[str] | None, OMIT] = None
    id: str = ""
    lock_delay: Duration = 0
    name: str = ""
    node: str = ""
    node_checks: Annotated[list[str] | None, NEVER_NULL] = None
    service_checks: list[ServiceCheck] | None = None
    ttl: str = ""
    create_index: int = 0
    modify_index: int = 0


class SessionRequest(Wire, frozen=True):
    """Arguments of `Session.Apply`."""

    datacenter: str = ""
    op: str = ""
    session: Session = Session()
    token: Annotated[str, HIDDEN] = ""


class SessionSpecificRequest(Query, frozen=True):
    """Arguments of `Session.Get`, `Session.List`, `Session.Renew`."""

    datacenter: str = ""
    session: str = ""
    session_id: str = ""


class IndexedSessions(Meta, frozen=True):
    """Answer of `Session.Get`, `Session.List`, `Session.NodeSessions`, `Session.Renew`."""

    sessions: list[Session] | None = None
