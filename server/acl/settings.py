"""What an agent's configuration says of access control (`acl {…}`), as servers and clients need it."""

from pathlib import Path
from typing import NamedTuple


class AclSettings(NamedTuple):
    """Access control as configured. Times in seconds.

    `default_allow` decides what no rule does; `primary_datacenter` ("": the own one) has authority over policies, roles
    and the tokens that are not local to a datacenter; `initial_management` is the secret of a management token that the
    first leader makes. An operator puts the index of the last bootstrap into `reset_file` to repeat it.
    """

    enabled: bool = False
    default_allow: bool = True
    down_policy: str = "extend-cache"
    key_list_policy: bool = False
    initial_management: str = ""
    token_replication: bool = False
    token_ttl: float = 30.0
    primary_datacenter: str = ""
    min_expiration: float = 60.0
    max_expiration: float = 24 * 3600.0
    reset_file: Path | None = None

    @property
    def default_policy(self) -> str:
        """ "allow" or "deny": what `X-Consul-Default-ACL-Policy` tells; "allow" while access control is off."""
        return "allow" if self.default_allow or not self.enabled else "deny"
