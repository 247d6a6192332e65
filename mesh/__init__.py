"""Pure logic of the service mesh: SPIFFE identities, certificates, intentions, the proxy-state document.

Servers, agents and proxies share it; nothing here touches a socket, a clock or a file.
"""
