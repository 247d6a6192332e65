"""/v1/agent/token: the tokens that the agent itself uses."""

from agent.http.acl_routes import acl_route
from agent.http.described import Operation
from agent.http.routing import ApiRequest, ApiResponse, HttpError
from agent.tokens import KINDS
from model.codec import Wire


class AgentToken(Wire, frozen=True):
    """The body: the secret of a token, "" to use none."""

    token: str = ""


@acl_route(
    "PUT",
    "/v1/agent/token/",
    Operation("{kind}", body=AgentToken, statuses={404: "There is no such kind of token."}),
    prefix=True,
)
async def set_token(request: ApiRequest) -> ApiResponse:
    """Let the agent use another token: default, agent, agent_recovery or replication."""
    agent = request.agent
    (await request.authorizer()).require("agent", "write", agent.config.node_name)
    body = await request.body(AgentToken)
    kind = KINDS.get(request.rest)
    if kind is None:
        raise HttpError(404, f'Token "{request.rest}" is unknown')
    try:
        agent.tokens.set(kind, body.token)
    except OSError as error:
        raise HttpError(500, f"failed to persist the token: {error.strerror}") from None
    return ApiResponse()
