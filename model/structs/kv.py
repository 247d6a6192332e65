"""Keys and values: rows, requests and answers of the KVS service."""

from typing import Annotated

from model.codec import HIDDEN, OMIT, Wire
from model.structs.base import Meta, Query


class DirEntry(Wire, frozen=True):
    """A key and its value; `flags` belong to clients, `session` holds the lock."""

    flags: int = 0
    key: str = ""
    lock_index: int = 0
    session: Annotated[str, OMIT] = ""
    value: bytes | None = None
    create_index: int = 0
    modify_index: int = 0


class KVSRequest(Wire, frozen=True):
    """Arguments of `KVS.Apply`."""

    datacenter: str = ""
    dir_ent: DirEntry = DirEntry()
    op: str = ""
    token: Annotated[str, HIDDEN] = ""


class KeyRequest(Query, frozen=True):
    """Arguments of `KVS.Get`, `KVS.List`."""

    datacenter: str = ""
    key: str = ""


class KeyListRequest(Query, frozen=True):
    """Arguments of `KVS.ListKeys`."""

    datacenter: str = ""
    prefix: str = ""
    seperator: str = ""


class IndexedDirEntries(Meta, frozen=True):
    """Answer of `KVS.Get`, `KVS.List`."""

    entries: list[DirEntry] | None = None


class IndexedKeyList(Meta, frozen=True):
    """Answer of `KVS.ListKeys`."""

    keys: list[str] | None = None


class TombstoneRequest(Wire, frozen=True):
    """Command that forgets tombstones up to an index."""

    datacenter: str = ""
    op: str = ""
    reap_index: int = 0
    token: Annotated[str, HIDDEN] = ""
