"""The part of Kubernetes' API that logins ask."""

import json
from typing import Any

from aiohttp import web

from tests.login.counterparts import Counterpart


class KubernetesApi:
    """Answers on a counterpart for who has the token `reviewer`; `tokens` are the good ones, and whose they are."""

    def __init__(self, here: Counterpart, reviewer: str) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self._reviewer = reviewer
        here.answers["/apis/authentication.k8s.io/v1/tokenreviews"] = self._review
        self._here = here

    def has(self, namespace: str, name: str, token: str, **annotations: str) -> None:
        """Add a service account."""
        self.tokens[token] = {"username": f"system:serviceaccount:{namespace}:{name}", "uid": f"uid-{name}"}
        self.accounts[name] = {"metadata": {"name": name, "annotations": annotations or None}}
        self._here.answers[f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"] = self._account

    def _allowed(self, request: web.BaseRequest) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self._reviewer}"

    async def _review(self, request: web.BaseRequest) -> web.StreamResponse:
        body = json.loads(await request.read())
        assert request.method == "POST" and body["kind"] == "TokenReview"
        if not self._allowed(request):
            return web.json_response({"kind": "Status", "message": "Unauthorized"}, status=401)
        user = self.tokens.get(body["spec"]["token"])
        status: dict[str, Any] = {"authenticated": True, "user": user} if user else {"error": "token has expired"}
        return web.json_response({**body, "status": status}, status=201)

    async def _account(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._allowed(request):
            return web.json_response({"kind": "Status", "message": "Unauthorized"}, status=401)
        return web.json_response(self.accounts[request.path.rpartition("/")[2]])
