"""Prepared queries: the rules of their names and sessions, and which one a name means."""

from collections.abc import Callable

import msgspec

from model.commands import Command, CommandType, Record
from model.errors import RpcError
from model.structs.queries import PreparedQuery, PreparedQueryRequest
from model.tables import Indexes, Journal, Table, Watch
from server.state import query_templates

QUERIES = "prepared-queries"


class Queries:
    """Prepared queries by ID; names ignore case."""

    def __init__(self, journal: Journal, indexes: Indexes, session_exists: Callable[[str], bool]) -> None:
        self._journal = journal
        self._indexes = indexes
        self._session_exists = session_exists
        self.rows: Table[PreparedQuery] = Table(
            journal,
            lambda row: row.id,
            name=lambda row: (row.name.lower(),) if row.name else (),
            session=lambda row: (row.session,) if row.session else (),
        )

    def commands(self) -> list[Command]:
        """Creating, updating and deleting."""
        return [Command(CommandType.PREPARED_QUERY, PreparedQueryRequest, self.apply)]

    def records(self) -> list[Record]:
        """The queries."""
        return [Record(CommandType.PREPARED_QUERY, PreparedQuery, self.rows.captured, self._load)]

    def _load(self, row: PreparedQuery) -> None:
        self.rows.put(row)
        self._indexes.raise_to(row.modify_index, QUERIES)

    def apply(self, index: int, request: PreparedQueryRequest) -> None:
        """Carry out a command. Raises RpcError."""
        if request.query is None:
            raise RpcError("missing prepared query")
        if request.op in ("create", "update"):
            self.put(index, request.query)
        elif request.op == "delete":
            self.delete(index, request.query.id)
        else:
            raise RpcError(f"Invalid PreparedQuery operation '{request.op}'")

    def put(self, index: int, query: PreparedQuery) -> None:
        """Write a query. Raises RpcError when its session is gone, its name is taken or its template is wrong."""
        old = self.rows.get(query.id)
        if query.session and not self._session_exists(query.session):
            raise RpcError(f'invalid session "{query.session}"')
        is_template = bool(query.template.type)
        if query.name:
            if any(row.id != query.id for row in self.rows.by("name", query.name.lower())):
                raise RpcError(f"name '{query.name}' aliases an existing query name")
            if query.name in self.rows:
                raise RpcError(f"name '{query.name}' aliases an existing query ID")
        elif is_template and any(row.template.type and not row.name and row.id != query.id for row in self.rows):
            raise RpcError("a query template with an empty name already exists")
        if is_template:
            query_templates.check(query)
        created = old.create_index if old else index
        self.rows.put(msgspec.structs.replace(query, create_index=created, modify_index=index))
        self._changed(index, query.id)

    def delete(self, index: int, query_id: str) -> None:
        """Remove a query, if it is there."""
        if self.rows.delete(query_id) is not None:
            self._changed(index, query_id)

    def session_gone(self, index: int, session_id: str) -> None:
        """A session's queries go with it."""
        for row in self.rows.by("session", session_id):
            self.delete(index, row.id)

    def _changed(self, index: int, query_id: str) -> None:
        self._indexes.set(index, QUERIES)
        self._journal.touch((QUERIES,), ("query", query_id.lower()))

    def all(self, watch: Watch | None = None) -> tuple[list[PreparedQuery], int]:
        """All queries."""
        if watch is not None:
            watch.note((QUERIES,))
        return self.rows.rows(), self._indexes.get(QUERIES)

    def get(self, query_id: str, watch: Watch | None = None) -> tuple[PreparedQuery | None, int]:
        """One query."""
        if watch is not None:
            watch.note(("query", query_id.lower()))
        row = self.rows.get(query_id) or self.rows.get(query_id.lower())
        return row, row.modify_index if row else self._indexes.get(QUERIES)


    def resolve(self, name_or_id: str, segment: str) -> PreparedQuery | None:
        """The query that a name or an ID means, rendered when a template answers for the name.

        Raises RpcError when the ID is a template's, or when a template cannot be rendered.
        """
        row = self.rows.get(name_or_id) or self.rows.get(name_or_id.lower())
        if row is not None:
            if row.template.type:
                raise RpcError("prepared query templates can only be resolved up by name, not by ID")
            return row
        name = name_or_id.lower()
        exact = self.rows.by("name", name)
        if exact and not exact[0].template.type:
            return exact[0]
        best: PreparedQuery | None = None
        for row in self.rows:
            fits = row.template.type and name.startswith(row.name.lower())
            if fits and (best is None or len(row.name) > len(best.name)):
                best = row
        return query_templates.render(best, name_or_id, segment) if best is not None else None
