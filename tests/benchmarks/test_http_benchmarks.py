"""The benchmarks of HTTP run, small, and say of every row what it was measured beside. No figure is judged."""

import re

import pytest

from benchmarks import http, watchers, workload
from benchmarks.http_load import answer_end
from benchmarks.measure import Figure, print_table
from benchmarks.workload import Workload
from tests.support.tools import need_program


def test_a_workload_makes_each_request_another() -> None:
    work = Workload("PUT", "/v1/kv/a%d", '{"x": %n}', modulus=10)
    assert work.request(13) == b'PUT /v1/kv/a3 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"x": 13}'
    assert work.request(4) != work.request(5)
    script = work.script(7)
    assert "local c, m = 7, 10" in script and "[==[/v1/kv/a]==]..string.format('%d', n % m)" in script
    assert Workload(path="/a").script(0).count("nil") == 2


@pytest.mark.parametrize("installed", [True, False])
async def test_requests_are_counted_with_wrk_and_without(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:
        need_program("wrk")
    monkeypatch.setattr(workload, "has_wrk", lambda: installed)
    with http.counterpart("bare") as (_, port):
        assert await workload.drive(port, Workload(path="/100"), 4, 1) > 10
        assert await workload.drive(port, Workload("PUT", "/a%d", "x%d"), 4, 1) > 10


async def test_the_table_of_http_has_a_counterpart_and_consuls_figure_in_each_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = await http.table(1, 1, 20, (http.READS[0], http.WRITES[0], http.REGISTER))
    print_table(figures)
    measured = {figure.name: figure for figure in figures}
    for row in (http.READS[0], http.WRITES[0], http.REGISTER, http.NODES):
        figure = measured[row.name]
        assert figure.value > 0 and figure.other and figure.counterpart and figure.elsewhere == row.consul
    output = capsys.readouterr().out
    assert re.search(r"figure +lictor +Consul, elsewhere +ratio +counterpart +ratio +goal", output)
    assert re.search(r"memory, empty +[0-9.]+ MB +82\.0 ", output)


async def test_watchers_are_held_and_woken() -> None:
    figures = await watchers.table(40, 2, (60,))
    units = {figure.name.partition(": ")[2] or figure.name: figure.unit for figure in figures}
    assert units["memory for each, its connection included"] == "bytes"
    assert units["slowest answer to another client while they were woken"] == "ms"
    assert all(figure.value >= 0 for figure in figures)
    woken = next(figure for figure in figures if "woken, CPU for each" in figure.name)
    assert woken.value > 0 and woken.other and woken.elsewhere == 104


def test_a_table_without_figures_of_consul_has_no_column_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Figure("a", 2.0, "us", 4.0, "etcd", "less")])
    first, second = capsys.readouterr().out.splitlines()
    assert "Consul" not in first and second.split() == ["a", "2.00", "us", "4.00", "etcd", "0.50", "less"]
    assert answer_end(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n") is None
