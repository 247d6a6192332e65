"""The data plane: a proxy beside each service that speaks mutual TLS and enforces intentions.

Its whole input is the proxy-state document (`mesh.proxy_state`); it knows no server or agent code.

    identity    TLS contexts of a leaf and its roots, and whose certificate a peer showed
    balance     which endpoint a connection goes to
    relay       bytes between two connections, with back-pressure
    listeners   the public listener and the upstream listeners
    source      where the document comes from
    runner      all of it as one process
"""
