"""The agent's metrics, as JSON and in Prometheus' format."""

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from agent.http.routing import JSON, ApiResponse
from model.gojson import encode_json
from server.server import Server

if TYPE_CHECKING:
    from agent.agent import Agent


def metrics_answer(agent: "Agent", prometheus: bool, pretty: bool) -> ApiResponse:
    """Figures about this agent."""
    gauges = [
        ("consul_runtime_uptime_seconds", time.time() - agent.started_at),
        ("consul_agent_services", float(len(agent.local.services))),
        ("consul_agent_checks", float(len(agent.local.checks))),
        ("consul_serf_members", float(len(agent.delegate.members()))),
    ]
    if isinstance(agent.delegate, Server):
        raft = agent.delegate.raft
        gauges += [
            ("consul_raft_applied_index", float(raft.applied_index)),
            ("consul_server_isLeader", float(raft.is_leader)),
            ("consul_rpc_queries_blocking", float(agent.delegate.fsm.store.watches.waiting)),
        ]
    if prometheus:
        registry = CollectorRegistry()
        for name, value in gauges:
            Gauge(name, name.replace("_", " "), registry=registry).set(value)
        return ApiResponse(generate_latest(registry), 200, "text/plain; version=0.0.4; charset=utf-8")
    body = {
        "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime()),
        "Gauges": [{"Name": name.replace("_", "."), "Value": value, "Labels": {}} for name, value in gauges],
        "Points": [],
        "Counters": [],
        "Samples": [],
    }
    return ApiResponse(encode_json(body, pretty), 200, JSON)
