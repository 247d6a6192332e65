"""Tables: what is captured of one stays as it was, and comes in the order of its keys."""

from model.tables import Journal, Table


def test_captured_rows_are_of_the_moment_and_in_order() -> None:
    table: Table[tuple[str, int]] = Table(Journal(), lambda row: row[0])
    for name in ("m", "b", "z", "a"):
        table.put((name, 1))
    captured = table.captured()
    table.put(("a", 2))
    table.delete("b")
    table.put(("c", 2))
    assert list(captured) == [("a", 1), ("b", 1), ("m", 1), ("z", 1)]
    assert list(table.captured()) == table.rows() == [("a", 2), ("c", 2), ("m", 1), ("z", 1)]
