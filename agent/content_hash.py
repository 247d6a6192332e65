"""The content hash of a service: what a client that waits for a change compares.

Consul hashes what its API shows, as a Go value. Fields that the JSON leaves out are zero and count, so the shapes below
list all of them. A client finds with lictor the hash that it kept from Consul; only where central defaults put a whole
number into a proxy's settings Consul hashes an integer and we, who cannot tell it from other numbers of JSON, a float.
"""

from collections.abc import Mapping
from typing import Any

from model.structure_hash import anything, list_of, map_of, pointer_to, struct_of, text, truth, whole

_MESH_GATEWAY = struct_of("MeshGatewayConfig", {"Mode": text})
_UPSTREAM = struct_of(
    "Upstream",
    {
        **dict.fromkeys(("DestinationType", "DestinationPartition", "DestinationNamespace", "DestinationPeer"), text),
        **dict.fromkeys(("DestinationName", "Datacenter", "LocalBindAddress"), text),
        "LocalBindPort": whole,
        **dict.fromkeys(("LocalBindSocketPath", "LocalBindSocketMode"), text),
        "Config": map_of(anything),
        "MeshGateway": _MESH_GATEWAY,
        "CentrallyConfigured": truth,
    },
)
_EXPOSED = struct_of(
    "ExposePath",
    {"ListenerPort": whole, "Path": text, "LocalPathPort": whole, "Protocol": text, "ParsedFromCheck": truth},
)
_PROXY = struct_of(
    "AgentServiceConnectProxyConfig",
    {
        **dict.fromkeys(("DestinationServiceName", "DestinationServiceID", "LocalServiceAddress"), text),
        "LocalServicePort": whole,
        **dict.fromkeys(("LocalServiceSocketPath", "Mode"), text),
        "TransparentProxy": pointer_to(
            struct_of("TransparentProxyConfig", {"OutboundListenerPort": whole, "DialedDirectly": truth})
        ),
        "Config": map_of(anything),
        "Upstreams": list_of(_UPSTREAM),
        "MeshGateway": _MESH_GATEWAY,
        "Expose": struct_of("ExposeConfig", {"Checks": truth, "Paths": list_of(_EXPOSED)}),
    },
)
_SERVICE = struct_of(
    "AgentService",
    {
        **dict.fromkeys(("Kind", "ID", "Service", "Address", "SocketPath", "ContentHash", "PeerName"), text),
        "Tags": list_of(text),
        "Meta": map_of(text),
        **dict.fromkeys(("Port", "CreateIndex", "ModifyIndex"), whole),
        "TaggedAddresses": map_of(struct_of("ServiceAddress", {"Address": text, "Port": whole})),
        "Weights": struct_of("AgentWeights", {"Passing": whole, "Warning": whole}),
        "EnableTagOverride": truth,
        "Proxy": pointer_to(_PROXY),
        "Connect": pointer_to(
            struct_of("AgentServiceConnect", {"Native": truth, "SidecarService": pointer_to(anything)})
        ),
    },
)


def content_hash(shown: Mapping[str, Any]) -> str:
    """The hash, as hexadecimal digits, of a service as /v1/agent/service shows it, without its ContentHash."""
    return f"{_SERVICE(shown):x}"
