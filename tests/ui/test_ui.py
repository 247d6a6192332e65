"""The UI in a real browser against a real agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import Agent, dev_agent
from tests.support.tools import need_program

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with dev_agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium = need_program("chromium", "chromium-browser", "google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=120_000)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser):  # type: ignore[no-untyped-def]
    """Opens pages of an agent; they are closed after the test, so that the next one does not share the machine."""
    contexts = []

    def page_of(agent: Agent, path: str = "", **options):  # type: ignore[no-untyped-def]
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.goto(f"http://127.0.0.1:{agent.ports['http']}/ui/{path}")
        return page

    yield page_of
    for context in contexts:
        context.close()


def test_services_appear_while_the_page_is_open(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent)
    page.get_by_role("link", name="consul").wait_for()
    page.wait_for_function("document.querySelector('#live').innerText === 'live'")
    evil = "<img src=x onerror=document.title='owned'>"
    definition = {"Name": "web-live", "Port": 80, "Tags": [evil], "Check": {"TTL": "60s", "Status": "passing"}}
    agent.json("PUT", "/v1/agent/service/register", definition)
    page.get_by_role("link", name="web-live").wait_for()
    assert page.get_by_text(evil).count() == 1 and page.title() != "owned"
    page.get_by_role("link", name="web-live").click()
    page.get_by_role("heading", name="web-live").wait_for()
    page.get_by_text("Service 'web-live' check").wait_for()


def test_a_key_is_written_and_read_back(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent, "kv")
    page.get_by_label("New key").fill("app/greeting")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Value").fill("hello <b>you</b>")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert agent.request("GET", "/v1/kv/app/greeting?raw")[1] == b"hello <b>you</b>"
    agent.json("PUT", "/v1/kv/app/greeting", b"changed elsewhere")
    page.wait_for_function("document.querySelector('textarea').value === 'changed elsewhere'")


def test_a_slow_read_does_not_take_away_what_was_typed(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent, "kv")
    read, held = "**/v1/kv/app/slow?index=0&*", []
    page.route(read, lambda route: held.append(route))
    page.get_by_label("New key").fill("app/slow")
    page.get_by_role("button", name="New key").click()
    while not held:
        page.wait_for_timeout(20)
    assert page.get_by_label("Value").is_disabled() and page.get_by_role("button", name="Save").is_disabled()
    for route in held:
        route.continue_()
    page.unroute(read)
    page.get_by_label("Value").fill("first")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert agent.request("GET", "/v1/kv/app/slow?raw")[1] == b"first"


def test_a_key_can_be_saved_again_and_again(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent, "kv/app/again")
    for number in range(5):
        page.get_by_label("Value").fill(f"text {number}")
        with page.expect_response(lambda response: "cas=" in response.url) as answered:
            page.get_by_role("button", name="Save").click()
        assert answered.value.text().strip() == "true"
        page.get_by_text("Saved.").wait_for()
    assert agent.request("GET", "/v1/kv/app/again?raw")[1] == b"text 4"


def test_what_is_being_edited_is_not_replaced_from_elsewhere(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    agent.json("PUT", "/v1/kv/app/shared", b"old")
    page = opened(agent, "kv/app/shared")
    page.wait_for_function("document.querySelector('textarea').value === 'old'")
    page.get_by_label("Value").fill("mine")
    agent.json("PUT", "/v1/kv/app/shared", b"theirs")
    page.get_by_text("changed elsewhere while you edit").wait_for()
    assert page.get_by_label("Value").input_value() == "mine"
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Somebody else changed this key").wait_for()
    assert agent.request("GET", "/v1/kv/app/shared?raw")[1] == b"theirs"


def test_an_intention_made_here_decides(opened, agent: Agent) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent, "intentions")
    page.get_by_label("Source").fill("api")
    page.get_by_label("Destination").fill("web")
    page.get_by_label("Action").select_option("deny")
    page.get_by_role("button", name="Save intention").click()
    page.get_by_text("api → web").wait_for()
    check = "/v1/connect/intentions/check?source=api&destination=web"
    assert agent.json("GET", check) == {"Allowed": False}
    page.get_by_role("button", name="Delete api to web").click()
    page.get_by_text("No intentions yet").wait_for()
    assert agent.json("GET", check) == {"Allowed": True}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(opened, agent: Agent, scheme: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    page = opened(agent, "", viewport={"width": 360, "height": 700}, color_scheme=scheme)
    for path in ("services", "nodes", "kv", "intentions", "services/consul", "nodes/node1"):
        page.goto(f"http://127.0.0.1:{agent.ports['http']}/ui/{path}")
        page.locator("h1").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 24, 27)") is (scheme == "dark")


def test_it_says_so_when_the_agent_is_gone(opened, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with dev_agent(tmp_path / "other") as other:
        page = opened(other)
        page.get_by_role("link", name="consul").wait_for()
    page.get_by_text("disconnected").wait_for(timeout=120_000)


def test_a_services_page_links_to_its_dashboard(opened, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    template = "http://127.0.0.1:1/d?service={{Service.Name}}&dc={{ Datacenter }}&ns={{Service.Namespace}}"
    settings = {"ui_config": {"enabled": True, "dashboard_url_templates": {"service": template}}}
    with dev_agent(tmp_path, **settings) as agent:
        agent.json("PUT", "/v1/agent/service/register", {"Name": "a&b"})
        page = opened(agent, "services/a%26b")
        link = page.get_by_role("link", name="Dashboard")
        link.wait_for()
        assert link.get_attribute("href") == "http://127.0.0.1:1/d?service=a%26b&dc=dc1&ns="


def test_with_access_control_a_token_shows_what_it_may_see(opened, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root = "10000000-0000-4000-8000-000000000001"
    tokens = {"initial_management": root, "agent": root}
    acl = {"enabled": True, "default_policy": "deny", "tokens": tokens}
    agent = Agent(tmp_path / "agent", ["-dev"], {"acl": acl})
    agent.start()
    try:
        agent.until(lambda: agent.json("GET", f"/v1/catalog/services?token={root}") == {"consul": []})
        page = opened(agent)
        page.get_by_text("Access control is on").wait_for()
        page.get_by_text("No services yet").wait_for()
        page.on("dialog", lambda dialog: dialog.accept(root))
        page.get_by_role("button", name="Set a token").click()
        page.get_by_role("link", name="consul").wait_for()
        assert page.get_by_text("Access control is on").is_hidden()
        page.get_by_role("link", name="Intentions").click()
        page.get_by_text("every call is denied").wait_for()
    finally:
        agent.stop()
