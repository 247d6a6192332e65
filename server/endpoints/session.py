"""Session: creating, ending, renewing and listing sessions."""

import msgspec

from model.durations import DurationError, parse_duration
from model.errors import RpcError
from model.structs.catalog_rpc import NodeSpecificRequest
from model.structs.session import IndexedSessions, SessionRequest, SessionSpecificRequest
from model.tables import Watch
from server import fsm
from server.endpoints.context import Context, propose, read, write
from server.leader.session_ttl import MAX_TTL, MIN_TTL


@write("Session.Apply")
async def apply(context: Context, args: SessionRequest) -> str:
    """Create a session (the reply is its ID) or destroy one."""
    session = args.session
    if args.op == "destroy" and not session.id:
        raise RpcError("Must provide ID")
    if args.op == "create":
        if not session.node:
            raise RpcError("Must provide Node")
        if session.behavior not in ("", "release", "delete"):
            raise RpcError(f"Invalid Behavior setting '{session.behavior}'")
        if session.ttl:
            _check_ttl(session.ttl)
        known = context.fsm.store.sessions.rows
        identifier = context.uuid()
        while identifier in known:
            identifier = context.uuid()
        session = msgspec.structs.replace(session, id=identifier)
    request = msgspec.structs.replace(args, session=session, token="")
    try:
        result = await propose(context, fsm.SESSION, request)
    except RpcError as error:
        raise RpcError(f"apply failed: {error.text}" if args.op == "destroy" else error.text) from None
    return str(result or "")


def _check_ttl(text: str) -> None:
    try:
        ttl = parse_duration(text)
    except DurationError as error:
        raise RpcError(f"Session TTL '{text}' invalid: {error}") from None
    if ttl != 0 and not MIN_TTL <= ttl <= MAX_TTL:
        raise RpcError(f"Invalid Session TTL '{ttl}', must be between [10s=24h0m0s]")


def _id(args: SessionSpecificRequest) -> str:
    return args.session_id or args.session


@read("Session.Get")
def get(context: Context, args: SessionSpecificRequest, watch: Watch | None) -> IndexedSessions:
    """One session."""
    session, index = context.fsm.store.sessions.get(_id(args), watch)
    return IndexedSessions(sessions=[session] if session else None, index=index)


@read("Session.List")
def list_sessions(context: Context, args: SessionSpecificRequest, watch: Watch | None) -> IndexedSessions:
    """All sessions."""
    sessions, index = context.fsm.store.sessions.all(watch)
    return IndexedSessions(sessions=sessions, index=index)


@read("Session.NodeSessions")
def node_sessions(context: Context, args: NodeSpecificRequest, watch: Watch | None) -> IndexedSessions:
    """The sessions of a node."""
    sessions, index = context.fsm.store.sessions.of_node(args.node, watch)
    return IndexedSessions(sessions=sessions, index=index)


@write("Session.Renew")
async def renew(context: Context, args: SessionSpecificRequest) -> IndexedSessions:
    """Begin a session's time anew."""
    session, index = context.fsm.store.sessions.get(_id(args))
    if session is None:
        return IndexedSessions()
    context.session_timers.renew(session)
    return IndexedSessions(sessions=[session], index=index, known_leader=True)
