"""/v1/operator/keyring: the keys that encrypt gossip."""

from typing import Annotated, Any

from agent.http.described import Operation, Param
from agent.http.routing import ApiRequest, ApiResponse, HttpError, route
from model.codec import OMIT, Wire
from model.structs.operator import KeyringRequest, KeyringResponse

MAX_RELAY = 5
OPERATIONS = {"GET": "list", "POST": "install", "PUT": "use", "DELETE": "remove"}
RELAY = Param("relay-factor", "Other members that pass on each answer, too; at most 5.", "number")
LOCAL_ONLY = Param("local-only", "Only this datacenter (GET only).", "truth")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class KeyBody(Wire, frozen=True):
    """The body of a change."""

    key: str = ""
    relay_factor: Annotated[int, OMIT] = 0


@route(
    "GET POST PUT DELETE",
    "/v1/operator/keyring",
    Operation(
        query=(RELAY, LOCAL_ONLY),
        body=KeyBody,
        answer=list[dict[str, Any]],
        summary="List (GET), install (POST), use (PUT) or remove (DELETE) a key; only the list has an answer.",
    ),
)
async def keyring(request: ApiRequest) -> Any:
    """List (GET), install (POST), use (PUT) or remove (DELETE) a key. Raises HttpError."""
    body = KeyBody() if request.method == "GET" else await request.body(KeyBody)
    args = KeyringRequest(
        operation=OPERATIONS[request.method],
        key=body.key,
        relay_factor=_relay_factor(request),
        local_only=_local_only(request),
        datacenter=request.agent.config.datacenter,
        token=request.token,
    )
    reply = await request.call("Internal.KeyringOperation", args)
    rows = reply.responses or []
    errors = [error for row in rows for error in _errors(row)]
    if errors:
        noun = "error" if len(errors) == 1 else "errors"
        lines = "".join(f"\t* {error}\n" for error in errors)
        raise HttpError(500, f"{len(errors)} {noun} occurred:\n{lines}\n")
    return [_shown(row) for row in rows] if request.method == "GET" else ApiResponse()


def _relay_factor(request: ApiRequest) -> int:
    text = request.param("relay-factor")
    if not text:
        return 0
    if not (text.isascii() and text.lstrip("-").isdigit()):
        raise HttpError(400, f'Error parsing relay factor: strconv.Atoi: parsing "{text}": invalid syntax')
    if not 0 <= int(text) <= MAX_RELAY:
        raise HttpError(400, f"Invalid relay-factor: Relay factor must be in range: [0, {MAX_RELAY}]")
    return int(text)


def _local_only(request: ApiRequest) -> bool:
    text = request.param("local-only")
    if not text:
        return False
    if text not in _TRUE + _FALSE:
        raise HttpError(400, f'Error parsing local-only: strconv.ParseBool: parsing "{text}": invalid syntax')
    if text in _TRUE and request.method != "GET":
        raise HttpError(400, "Invalid use of local-only: local-only can only be used with GET requests")
    return text in _TRUE


def _errors(row: KeyringResponse) -> list[str]:
    if not row.error:
        return []
    pool = "WAN" if row.wan else f"{row.datacenter} (LAN)"
    return [f"{pool} error: {row.error}", *(f"{node}: {text}" for node, text in sorted((row.messages or {}).items()))]


def _shown(row: KeyringResponse) -> dict[str, Any]:
    return {
        "WAN": row.wan,
        "Datacenter": row.datacenter,
        "Segment": row.segment,
        **({"Messages": row.messages} if row.messages else {}),
        "Keys": row.keys or {},
        "PrimaryKeys": row.primary_keys or {},
        "NumNodes": row.num_nodes,
    }
