"""What the leader registers for members must not undo what their agents register themselves."""

from gossip.consul import client_tags
from gossip.core import Member, Status
from model.commands import CommandType, command
from model.structs.catalog_rpc import RegisterRequest
from server.fsm import Fsm
from server.leader.reconcile import ABSENT, SERF_CHECK_ID, Reconciler, wanted_registration
from tests.endpoints.fake import FakeServer

NODE_ID = "a0000000-0000-0000-0000-000000000000"
MEMBER = Member("n1", "10.0.0.1", 8301, client_tags(NODE_ID, "dc1", "1.14.0"), Status.ALIVE)


def test_a_node_that_registers_itself_meanwhile_keeps_its_meta_data() -> None:
    machine = Fsm()
    wanted = wanted_registration(machine.store, MEMBER, "dc1")
    assert wanted is not None
    own = RegisterRequest(node="n1", id=NODE_ID, address="10.0.0.1", node_meta={"rack": "7"}, datacenter="dc1")
    machine.apply(5, 1, command(CommandType.REGISTER, own))
    machine.apply(6, 1, command(CommandType.REGISTER, wanted))
    assert machine.store.catalog.nodes.get("n1").meta == {"rack": "7"}  # type: ignore[union-attr]
    assert machine.store.catalog.check("n1", SERF_CHECK_ID) is not None
    assert wanted_registration(machine.store, MEMBER, "dc1") is None


def test_a_missing_node_is_made_and_a_moved_one_is_updated() -> None:
    machine = Fsm()
    for index, address in ((5, "10.0.0.1"), (6, "10.0.0.9")):
        member = Member("n1", address, 8301, MEMBER.tags, Status.ALIVE)
        wanted = wanted_registration(machine.store, member, "dc1")
        assert wanted is not None
        machine.apply(index, 1, command(CommandType.REGISTER, wanted))
        assert machine.store.catalog.nodes.get("n1").address == address  # type: ignore[union-attr]


async def test_a_node_that_gossip_does_not_know_goes_only_when_that_lasts() -> None:
    server = FakeServer()
    now = 0.0
    reconciler = Reconciler(server, server.raft, lambda: now)  # type: ignore[arg-type]
    other = Member("n2", "10.0.0.2", 8301, client_tags("b" + NODE_ID[1:], "dc1", "1.14.0"), Status.ALIVE)
    await reconciler.all([MEMBER, other])
    await reconciler.all([other])  # As after a restart, before everybody was heard of.
    now = ABSENT - 0.1
    await reconciler.all([other])
    assert server.store.catalog.nodes.get("n1") is not None
    await reconciler.all([MEMBER, other])
    now += ABSENT
    await reconciler.all([other])
    assert server.store.catalog.nodes.get("n1") is not None, "its time began anew when it was seen"
    now += ABSENT
    await reconciler.all([other])
    assert server.store.catalog.nodes.get("n1") is None and server.store.catalog.nodes.get("n2") is not None
