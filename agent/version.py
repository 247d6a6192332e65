"""Versions: lictor's own, and the Consul whose behaviour it has."""

VERSION = "0.1.0"
CONSUL_VERSION = "1.14.0"
