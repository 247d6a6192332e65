"""What an agent says of itself: its configuration without secrets, and figures."""

import asyncio
import os
import platform
from typing import TYPE_CHECKING, Any

from agent.config.settings import Config
from agent.logs import internal_errors
from agent.version import CONSUL_VERSION
from gossip.core import Member
from gossip.options import PoolOptions
from model.durations import SECOND, format_duration
from model.gojson import to_json

if TYPE_CHECKING:
    from agent.agent import Agent


def shown_member(member: Member) -> dict[str, Any]:
    """A member as the API shows it."""
    low, high, current, delegate_low, delegate_high, delegate_current = member.versions
    return {
        "Name": member.name,
        "Addr": member.address,
        "Port": member.port,
        "Tags": member.tags,
        "Status": int(member.status),
        "ProtocolMin": low,
        "ProtocolMax": high,
        "ProtocolCur": current,
        "DelegateMin": delegate_low,
        "DelegateMax": delegate_high,
        "DelegateCur": delegate_current,
    }


def describe(agent: "Agent") -> dict[str, Any]:
    """/v1/agent/self."""
    config = agent.config
    member = next((one for one in agent.delegate.members() if one.name == config.node_name), None)
    return {
        "Config": {
            "Datacenter": config.datacenter,
            "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
            "NodeName": config.node_name,
            "NodeID": agent.node_id,
            "Revision": "",
            "Server": config.server,
            "Version": CONSUL_VERSION,
            "BuildDate": "1970-01-01T00:00:01Z",
        },
        "DebugConfig": _debug_config(agent),
        "Coord": to_json(place) if (place := agent.delegate.place) is not None else None,
        "Member": shown_member(member) if member is not None else {},
        "Stats": stats(agent),
        "Meta": {**config.node_meta, "consul-network-segment": ""},
        "xDS": {"SupportedProxies": {}, "Port": config.ports.grpc, "Ports": {"Plaintext": -1, "TLS": -1}},
    }


def _debug_config(agent: "Agent") -> dict[str, Any]:
    """The configuration with Go's names, without secrets."""
    config = agent.config
    ports = config.ports
    return {
        "AdvertiseAddrLAN": config.advertise_addr,
        "AdvertiseAddrWAN": config.advertise_addr_wan,
        "BindAddr": config.bind_addr,
        "Bootstrap": config.bootstrap and not config.dev,
        "BootstrapExpect": config.bootstrap_expect,
        "ClientAddrs": config.client_addrs,
        "ConnectEnabled": config.connect_enabled,
        "DNSAddrs": [f"{net}://{host}:{ports.dns}" for host in config.dns_addrs for net in ("tcp", "udp")],
        "DNSDomain": config.domain,
        "DNSPort": ports.dns,
        "DataDir": config.data_dir,
        "Datacenter": config.datacenter,
        "DevMode": config.dev,
        "EnableDebug": config.enable_debug,
        "EncryptVerifyIncoming": config.gossip.lan.verify_incoming,
        "EncryptVerifyOutgoing": config.gossip.lan.verify_outgoing,
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_script_checks,
        **_gossip_config(config.gossip.lan, "LAN"),
        **_gossip_config(config.gossip.wan, "WAN"),
        "HTTPAddrs": _shown_addresses(config.http_addrs, ports.http),
        "HTTPPort": ports.http,
        "HTTPSAddrs": _shown_addresses(config.https_addrs, ports.https),
        "HTTPSPort": ports.https,
        "LeaveOnTerm": config.leave_on_terminate,
        "NodeID": agent.node_id,
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "PrimaryDatacenter": config.primary_datacenter or config.datacenter,
        "RejoinAfterLeave": config.gossip.lan.rejoin_after_leave,
        "RetryJoinLAN": config.retry_join,
        "RetryJoinWAN": config.gossip.retry_join_wan,
        "SerfPortLAN": ports.serf_lan,
        "SerfPortWAN": ports.serf_wan,
        "ServerMode": config.server,
        "ServerPort": ports.server,
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "UIConfig": _ui_config(config),
        "Version": CONSUL_VERSION,
    }


def _ui_config(config: Config) -> dict[str, Any]:
    """What the UI is told, without the headers that the metrics proxy adds: these may be credentials."""
    ui, proxy = config.ui_settings, config.metrics_proxy
    return {
        "ContentPath": config.ui_path,
        "DashboardURLTemplates": ui.dashboard_url_templates,
        "Dir": ui.folder,
        "Enabled": config.ui,
        "MetricsProvider": ui.metrics_provider,
        "MetricsProviderFiles": [],
        "MetricsProviderOptionsJSON": ui.metrics_provider_options_json,
        "MetricsProxy": {"AddHeaders": [], "BaseURL": _bare(proxy.base_url), "PathAllowlist": proxy.path_allowlist},
    }


def _bare(url: str) -> str:
    """A URL without the name and password that may stand in it."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def _shown_addresses(addresses: list[str], port: int) -> list[str]:
    if port < 0:
        return []
    return [one if one.startswith("unix://") else f"tcp://{one}:{port}" for one in addresses]


def _go(seconds: float) -> str:
    return format_duration(round(seconds * SECOND))


def _gossip_config(options: PoolOptions, pool: str) -> dict[str, Any]:
    timing = options.timing
    return {
        f"Gossip{pool}GossipInterval": _go(timing.gossip_interval),
        f"Gossip{pool}GossipNodes": timing.gossip_nodes,
        f"Gossip{pool}ProbeInterval": _go(timing.probe_interval),
        f"Gossip{pool}ProbeTimeout": _go(timing.probe_timeout),
        f"Gossip{pool}RetransmitMult": timing.retransmit,
        f"Gossip{pool}SuspicionMult": timing.suspicion,
        f"ReconnectTimeout{pool}": _go(timing.reap_failed),
        f"SerfAllowedCIDRs{pool}": [str(network) for network in options.allowed],
    }


def stats(agent: "Agent") -> dict[str, dict[str, str]]:
    """Sections of figures, as `info` shows them."""
    local = agent.local
    return {
        "agent": {
            "check_monitors": str(agent.checks.counts()[0]),
            "check_ttls": str(agent.checks.counts()[1]),
            "checks": str(len(local.checks)),
            **({"internal_errors": str(internal_errors.count)} if internal_errors.count else {}),
            "services": str(len(local.services)),
        },
        "build": {"prerelease": "", "revision": "", "version": CONSUL_VERSION, "version_metadata": ""},
        **agent.delegate.stats(),
        "runtime": {
            "arch": platform.machine(),
            "cpu_count": str(os.cpu_count()),
            "goroutines": str(len(asyncio.all_tasks())),
            "os": platform.system().lower(),
            "version": f"python{platform.python_version()}",
        },
    }
