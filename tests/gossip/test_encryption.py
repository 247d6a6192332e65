"""Encrypted packets and streams: what real members wrote is read, what we write is what they would write."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import wire
from gossip.envelope import NOT_CONFIGURED, NOT_ENCRYPTED, Envelope, UndecipherableError
from gossip.keyring import NO_KEY_FITS, Keyring, KeyringError
from gossip.streams import OuterError, StreamMessage, StreamReader, error_message
from gossip.wire import GossipError
from tests.gossip.vectors import lzw_encode, vectors

KEYS = st.binary(min_size=16, max_size=16) | st.binary(min_size=24, max_size=24) | st.binary(min_size=32, max_size=32)


def envelope_of(case: dict[str, Any], nonce: str = "") -> Envelope:
    """The envelope of a recorded member."""
    keys = [bytes.fromhex(key) for key in case.get("keys") or [case.get("key") or ""] if key]
    give: Callable[[int], bytes] = lambda _: bytes.fromhex(nonce)  # noqa: E731
    return Envelope(
        Keyring(keys) if keys else None,
        (case.get("label") or "").encode(),
        case.get("verify_incoming", True),
        nonce=give,
    )


def encryption(case: dict[str, Any]) -> dict[str, Any] | None:
    return next((layer for layer in case["layers"] if layer["layer"] == "encrypt"), None)


def test_recorded_packets_open_to_what_was_in_them() -> None:
    cases = vectors("memberlist")["packets"]
    assert sum(bool(case.get("key")) for case in cases) > 8
    for case in cases:
        opened = envelope_of(case).open_packet(bytes.fromhex(case["wire"]))
        if case["layers"]:
            last = [layer for layer in case["layers"] if layer["layer"] in ("label", "encrypt")]
            wanted = last[-1]["inner"] if last else case["wire"]
            assert opened.hex() == wanted, case["name"]
        wire.split_packet(opened)


def test_with_their_nonce_we_write_their_packets() -> None:
    written = 0
    for case in vectors("memberlist")["packets"]:
        sealed = encryption(case)
        if sealed is None or sealed["version"] != 1:
            continue
        envelope = envelope_of(case, sealed["nonce"])
        assert envelope.close_packet(bytes.fromhex(sealed["inner"])).hex() == case["wire"], case["name"]
        written += 1
    assert written >= 5


def test_with_their_nonce_we_write_version_0_too() -> None:
    for case in vectors("memberlist")["packets"]:
        sealed = encryption(case)
        if sealed is not None and sealed["version"] == 0:
            ring, label = Keyring([bytes.fromhex(case["key"])]), case["label"].encode()
            made = ring.seal(bytes.fromhex(sealed["inner"]), label, bytes.fromhex(sealed["nonce"]), version=0)
            assert bytes.fromhex(case["wire"]).endswith(made), case["name"]


def test_packets_are_taken_and_refused_as_by_a_real_member() -> None:
    cases = vectors("memberlist")["packet_acceptance"]
    judged = 0
    for case in cases:
        if "skip_inbound_label_check" in case["receiver"] or case["name"] == "ping_for_other_node":
            continue  # Consul never skips; the other is judged by the core.
        judged += 1
        try:
            wire.split_packet(envelope_of(case["receiver"]).open_packet(bytes.fromhex(case["wire"])))
            taken = True
        except GossipError:
            taken = False
        if case["name"] == "encrypted_to_plain_receiver":
            continue  # Not refused as such: it is rubbish, which the body of the message shows.
        assert taken is case["accepted"], case["name"]
    assert judged > 15


def test_lengths_of_sealed_packets() -> None:
    lengths = vectors("memberlist")["encrypted_length"]
    ring = Keyring([b"k" * 16])
    for case in lengths["cases"]:
        text = b"x" * case["plain_len"]
        assert len(ring.seal(text, b"", bytes(12))) == case["v1_len"]
        assert len(ring.seal(text, b"", bytes(12), version=0)) == case["v0_len"]
    assert Envelope(ring).overhead == lengths["overhead_reserved_v1"]
    assert Envelope(None, b"dc1-pool").overhead == lengths["label_overhead_of_dc1-pool"]


# Streams


def read(envelope: Envelope, data: bytes, dialled: bool, step: int = 0) -> StreamMessage | None:
    """Read a stream, in pieces if `step` says so."""
    reader = StreamReader(envelope, dialled)
    found = None
    for start in range(0, len(data), step or len(data) or 1):
        assert found is None, "there is more after the message"
        found = reader.feed(data[start : start + (step or len(data))])
    return found


@pytest.mark.parametrize("step", [0, 1, 7])
def test_recorded_streams_are_read_in_both_directions(step: int) -> None:
    cases = [
        case
        for case in vectors("memberlist")["streams"]
        if case["kind"] in ("tcp_ping", "push_pull_join", "push_pull_anti_entropy")
    ]
    assert len(cases) >= 20
    for case in cases:
        envelope = envelope_of(case)
        for side, dialled in (("dialer", False), ("acceptor", True)):
            name = "dialer_to_acceptor" if side == "dialer" else "acceptor_to_dialer"
            message = read(envelope, bytes.fromhex(case[name]), dialled, step)
            assert message is not None, case["name"]
            if case["kind"] == "tcp_ping":
                assert message.kind == (wire.PING if side == "dialer" else wire.ACK)
                continue
            wanted = case["decoded"][side]
            assert message.kind == wire.PUSH_PULL
            assert message.join is wanted["header"]["Join"]
            assert [wire.text(node, "Name") for node in message.nodes] == [node["Name"] for node in wanted["nodes"]]
            assert len(message.user) == wanted["header"]["UserStateLen"]


def test_with_their_nonce_we_write_their_streams() -> None:
    written = 0
    for case in vectors("memberlist")["streams"]:
        if case["kind"] == "error" or not case.get("key"):
            continue
        for name, layers, dialled in (
            ("dialer_to_acceptor", case["dialer_layers"], True),
            ("acceptor_to_dialer", case["acceptor_layers"], False),
        ):
            sealed = next((layer for layer in layers if layer["layer"] == "encrypt_stream"), None)
            if sealed is None or sealed.get("version", 1) != 1:
                continue
            made = envelope_of(case, sealed["nonce"]).close_stream(bytes.fromhex(sealed["inner"]), dialled)
            assert made.hex() == case[name], case["name"]
            written += 1
    assert written >= 10


def refusal(envelope: Envelope, data: bytes) -> str:
    """Why a stream is refused; "closed" where the other side is not told, "read" where it is not refused."""
    try:
        read(envelope, data, dialled=False)
    except OuterError as error:
        return str(error)
    except GossipError:
        return "closed"
    return "read"


def test_what_a_refused_stream_is_told() -> None:
    """The reasons are those that a real member gives, in its words."""
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    said = {}
    for case in vectors("memberlist")["streams"]:
        if case["kind"] != "error":
            continue
        keyed = case["name"] in ("plain_to_encrypted", "wrong_key", "too_large_encrypted_length")
        if case["name"] == "wrong_key":
            key = b"another key, 16b"
        envelope = Envelope(Keyring([key]) if keyed else None)
        reason = refusal(envelope, bytes.fromhex(case["dialer_to_acceptor"]))
        said[case["name"]] = reason
        if reason == "closed":
            assert case["acceptor_to_dialer"] == "", case["name"]
        elif reason != "read":
            assert any(line.endswith(reason) for line in case["log"]), case["name"]
            assert keyed or error_message(reason).hex() == case["acceptor_to_dialer"], case["name"]
    assert said.pop("too_large_encrypted_length").startswith("Remote node state is larger than limit")
    assert said == {
        "encrypted_to_plain": NOT_CONFIGURED,
        "plain_to_encrypted": NOT_ENCRYPTED,
        "wrong_key": NO_KEY_FITS,
        "bad_msg_type": "read",  # An acknowledgement that nobody asked for; whoever reads it decides.
        "tcp_ping_for_other_node": "read",
        "tcp_ping_empty_name": "read",
        "bad_label": "closed",
        "bad_compression_algo": "Cannot decompress unknown algorithm 3",
    }


def test_everything_between_real_members_with_encryption_is_read() -> None:
    live = vectors("serf")["live"]["encrypted"]
    envelope = Envelope(Keyring([bytes.fromhex(key) for key in live["keys"]]))
    assert len(live["packets"]) > 10
    for packet in live["packets"]:
        messages = wire.split_packet(envelope.open_packet(bytes.fromhex(packet["wire"])))
        assert [bytes((kind,)) + body for kind, body in messages] == [
            bytes.fromhex(m["wire"]) for m in packet["messages"]
        ]
    for stream in live["streams"]:
        for name, dialled in (("dialer_to_acceptor", False), ("acceptor_to_dialer", True)):
            message = read(envelope, bytes.fromhex(stream[name]), dialled)
            assert message is not None and message.kind == wire.PUSH_PULL and message.user[0] == wire.STATE


# Properties


@given(
    st.lists(KEYS, min_size=1, max_size=4, unique=True),
    st.binary(max_size=200),
    st.binary(max_size=20),
    st.integers(0, 1),
)
def test_any_key_of_the_ring_opens_what_another_member_sealed(
    keys: list[bytes], text: bytes, aad: bytes, version: int
) -> None:
    ring = Keyring(keys)
    for key in keys:
        sealed = Keyring([key]).seal(text, aad, bytes(12), version)
        assert ring.open(sealed, aad) == text
        with pytest.raises(GossipError):
            ring.open(sealed, aad + b"x")
        broken = bytearray(sealed)
        broken[-1] ^= 1
        with pytest.raises(GossipError, match=NO_KEY_FITS):
            ring.open(bytes(broken), aad)


@given(KEYS, KEYS, st.binary(max_size=100))
def test_a_stranger_reads_nothing(ours: bytes, theirs: bytes, text: bytes) -> None:
    if ours == theirs:
        return
    sealed = Envelope(Keyring([ours])).close_packet(text)
    with pytest.raises(UndecipherableError):
        Envelope(Keyring([theirs])).open_packet(sealed)


@given(st.binary(max_size=80))
def test_rubbish_is_refused_by_those_who_verify(data: bytes) -> None:
    strict, lenient = Envelope(Keyring([b"k" * 16])), Envelope(Keyring([b"k" * 16]), verify_incoming=False)
    with pytest.raises(GossipError):
        strict.open_packet(data)
    if data[:1] != b"\xf4":
        assert lenient.open_packet(data) == data
    for envelope in (strict, lenient, Envelope()):
        try:
            StreamReader(envelope, dialled=False).feed(data)
        except GossipError:
            pass


@given(st.binary(max_size=6000) | st.text(alphabet="ab", max_size=20_000).map(str.encode))
def test_what_is_compressed_comes_back(data: bytes) -> None:
    assert wire.lzw_decode(lzw_encode(data)) == data


def test_the_compression_of_the_tests_is_that_of_real_members() -> None:
    for case in vectors("memberlist")["compression"]:
        if "plain" in case:
            assert lzw_encode(bytes.fromhex(case["plain"])).hex() == case["lzw"], case["name"]


@given(st.binary(min_size=1, max_size=300), st.integers(1, 40))
def test_a_compressed_and_encrypted_push_pull_survives_any_cutting(user: bytes, step: int) -> None:
    plain = bytes((wire.PUSH_PULL,)) + wire.pack({"Join": True, "Nodes": 0, "UserStateLen": len(user)}) + user
    packed = bytes((wire.COMPRESSED,)) + wire.pack({"Algo": 0, "Buf": lzw_encode(plain)})
    envelope = Envelope(Keyring([b"k" * 32]), b"pool")
    for message in (plain, packed):
        found = read(envelope, envelope.close_stream(message, dialled=True), dialled=False, step=step)
        assert found is not None and found.user == user and found.join


def test_a_stream_that_promises_too_much_is_refused_before_it_comes() -> None:
    envelope = Envelope(Keyring([b"k" * 16]))
    with pytest.raises(OuterError, match="larger than limit"):
        StreamReader(envelope, dialled=False).feed(struct.pack(">BI", wire.ENCRYPTED, (20 << 20) + 1))
    reader = StreamReader(Envelope(), dialled=False)
    head = bytes((wire.PUSH_PULL,)) + wire.pack({"Join": True, "Nodes": 0, "UserStateLen": (20 << 20) - 1})
    with pytest.raises(GossipError, match="too large"):
        reader.feed(head)
        for _ in range(30):
            reader.feed(bytes(1 << 20))


def test_keys_are_installed_used_and_removed() -> None:
    a, b, c = b"a" * 16, b"b" * 24, b"c" * 32
    ring = Keyring([a])
    ring.install(b)
    ring.install(b)
    assert ring.keys == [a, b] and ring.primary == a
    with pytest.raises(KeyringError, match="Requested key is not in the keyring"):
        ring.use(c)
    with pytest.raises(KeyringError, match="Removing the primary key is not allowed"):
        ring.remove(a)
    with pytest.raises(KeyringError, match="16, 24 or 32"):
        ring.install(b"short")
    ring.use(b)
    assert ring.keys == [b, a]
    ring.remove(a)
    ring.remove(a)
    assert ring.keys == [b]
    assert "b" * 24 not in repr(ring)
