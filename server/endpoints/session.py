"""Session: creating, ending, renewing and listing sessions."""

import msgspec

from model.commands import CommandType
from model.durations import SECOND, DurationError, format_duration, parse_duration
from model.errors import RpcError
from model.structs.catalog_rpc import NodeSpecificRequest
from model.structs.session import IndexedSessions, Session, SessionRequest, SessionSpecificRequest
from model.tables import Watch
from server.endpoints.authorizer import Authorizer, authorizer
from server.endpoints.context import Context, propose, read, write
from server.leader.session_ttl import MAX_TTL


@write("Session.Apply")
async def apply(context: Context, args: SessionRequest) -> str:
    """Create a session (the reply is its ID) or destroy one."""
    authz = authorizer(context, args.token)
    session = args.session
    store = context.fsm.store
    if args.op == "destroy":
        if not session.id:
            raise RpcError("Must provide ID")
        known = store.sessions.rows.get(session.id)
        if known is None:
            return ""
        authz.require("session", "write", known.node)
    elif args.op == "create":
        if not session.node:
            raise RpcError("Must provide Node")
        authz.require("session", "write", session.node)
        _check_settings(session, int(context.limits.min_session_ttl * SECOND))
        identifier = context.uuid()
        while identifier in store.sessions.rows:
            identifier = context.uuid()
        session = msgspec.structs.replace(session, id=identifier)
    try:
        request = msgspec.structs.replace(args, session=session, token="")
        result = await propose(context, CommandType.SESSION, request)
    except RpcError as error:
        raise RpcError(f"apply failed: {error.text}") from None
    if args.op == "destroy":
        context.session_timers.forget(session.id)
    elif args.op == "create":
        created = context.fsm.store.sessions.rows.get(str(result))
        if created is not None:
            context.session_timers.renew(created)
    return str(result or "")


def _check_settings(session: Session, shortest: int) -> None:
    if session.behavior not in ("", "release", "delete"):
        raise RpcError(f"Invalid Behavior setting '{session.behavior}'")
    if not session.ttl:
        return
    try:
        ttl = parse_duration(session.ttl)
    except DurationError as error:
        raise RpcError(f"Session TTL '{session.ttl}' invalid: {error}") from None
    if ttl != 0 and not shortest <= ttl <= MAX_TTL:
        limits = f"{format_duration(shortest)}={format_duration(MAX_TTL)}"
        raise RpcError(f"Invalid Session TTL '{ttl}', must be between [{limits}]")


def _id(args: SessionSpecificRequest) -> str:
    return args.session_id or args.session


def _visible(sessions: list[Session], index: int, authz: Authorizer) -> IndexedSessions:
    seen = sessions if authz.allows_all else [row for row in sessions if authz.session_read(row.node)]
    return IndexedSessions(sessions=seen or None, index=index, results_filtered_by_acls=len(seen) < len(sessions))


@read("Session.Get")
def get(context: Context, args: SessionSpecificRequest, watch: Watch | None) -> IndexedSessions:
    """One session."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    session, index = store.sessions.get(_id(args), watch)
    return _visible([session] if session is not None else [], index, authz)


@read("Session.List")
def list_sessions(
    context: Context, args: SessionSpecificRequest, watch: Watch | None
) -> IndexedSessions:
    """All sessions."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    sessions, index = store.sessions.all(watch)
    return _visible(sessions, index, authz)


@read("Session.NodeSessions")
def node_sessions(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedSessions:
    """The sessions of a node."""
    store, authz = context.fsm.store, authorizer(context, args.token)
    sessions, index = store.sessions.of_node(args.node, watch)
    return _visible(sessions, index, authz)


@write("Session.Renew")
async def renew(context: Context, args: SessionSpecificRequest) -> IndexedSessions:
    """Begin a session's time anew; the answer has no session when there is none."""
    authz = authorizer(context, args.token)
    session, index = context.fsm.store.sessions.get(_id(args))
    if session is None:
        return IndexedSessions()
    authz.require("session", "write", session.node)
    context.session_timers.renew(session)
    return IndexedSessions(sessions=[session], index=index)
