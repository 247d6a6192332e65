"""What calls share: the options of a read and the meta data of its answer, flattened into each request and reply."""

from model.codec import Duration, Wire


class Query(Wire, frozen=True):
    """Options of a read.

    `min_query_index` above 0 makes it a blocking query of at most `max_query_time` (0: the server's default).
    `allow_stale` lets any server answer, `require_consistent` makes the leader check its leadership first.
    The fields on caching are for the agent; servers ignore them.
    """

    token: str = ""
    min_query_index: int = 0
    max_query_time: Duration = 0
    allow_stale: bool = False
    require_consistent: bool = False
    use_cache: bool = False
    max_stale_duration: Duration = 0
    max_age: Duration = 0
    must_revalidate: bool = False
    stale_if_error: Duration = 0
    filter: str = ""
    allow_not_modified_response: bool = False


class Meta(Wire, frozen=True):
    """Meta data of an answer; `index` is never 0 once the query path has filled it in."""

    index: int = 0
    last_contact: Duration = 0
    known_leader: bool = False
    consistency_level: str = ""
    not_modified: bool = False
    backend: int = 0
    results_filtered_by_acls: bool = False


class Empty(Wire, frozen=True):
    """An argument or answer that says nothing."""
