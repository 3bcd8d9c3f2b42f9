"""What a browser may say to NATS, byte by byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialtone_gateway.proxy.guard import NatsGuard, ProtocolError
from dialtone_gateway.roles import Identity, Role

OTTO = Identity("otto", Role.OPERATOR, "3f2a", 2e9)
VERA = Identity("vera", Role.VIEWER, "77aa", 2e9)
CONNECT = (
    b'CONNECT {"user":"otto/3f2a","pass":"mine","verbose":false,"jwt":"x","tls_required":true}'
)


def connected(identity: Identity = OTTO) -> NatsGuard:
    guard = NatsGuard("rover", identity, "mine", "the servers")
    line = CONNECT.replace(b"otto/3f2a", identity.operator.encode())
    guard.feed(line + b"\r\n")
    return guard


def pub(subject: str, body: object, headers: bytes = b"") -> bytes:
    data = json.dumps(body).encode()
    if headers:
        return b"HPUB %s %d %d\r\n%s%s\r\n" % (
            subject.encode(), len(headers), len(headers) + len(data), headers, data,
        )  # fmt: skip
    return b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(data), data)


def test_the_logins_credentials_become_the_roles() -> None:
    guard = NatsGuard("rover", OTTO, "mine", "the servers")
    out = guard.feed(CONNECT + b"\r\n")
    told = json.loads(out[len(b"CONNECT ") :])
    assert (told["user"], told["pass"]) == ("operator", "the servers")
    assert "jwt" not in told
    assert told["tls_required"] is False


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT {}",
        b'CONNECT {"user":"otto/3f2a","pass":"other"}',
        b'CONNECT {"user":"ada/0000","pass":"mine"}',
        b'CONNECT {"user":"operator","pass":"the servers"}',
        b'CONNECT {"user":"otto/3f2a","pass":5}',
        b"CONNECT",
        b"CONNECT nonsense",
    ],
)
def test_other_credentials_are_an_authorization_violation(line: bytes) -> None:
    guard = NatsGuard("rover", OTTO, "mine", "the servers")
    with pytest.raises(ProtocolError):
        guard.feed(line + b"\r\n")
    assert b"Authorization Violation" in guard.take_replies()


@pytest.mark.parametrize("line", [b"PING", b"PUB a 0\r\n", b"SUB a 1"])
def test_nothing_comes_before_connect(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        NatsGuard("rover", OTTO, "mine", "x").feed(line + b"\r\n")


def test_a_second_connect_ends_it() -> None:
    with pytest.raises(ProtocolError):
        connected().feed(CONNECT + b"\r\n")


def test_ones_own_name_passes_unchanged() -> None:
    data = pub("dt.rover.cmd.cmd_vel", {"linear": {"x": 1}, "operator": "otto/3f2a"})
    assert connected().feed(data) == data
    data = pub("dt.rover.srv.teleop.lease.acquire", {"operator": "otto/3f2a", "role": "operator"})
    assert connected().feed(data) == data


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("dt.rover.cmd.cmd_vel", {"linear": {}, "operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.acquire", {"operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.release", {"operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.acquire", {"operator": "otto/3f2a", "role": "admin"}),
        ("dt.rover.srv.teleop.estop", {"active": True, "operator": ""}),
    ],
)
def test_anothers_name_or_role_is_refused_and_the_rest_goes_on(subject: str, body: object) -> None:
    guard = connected()
    after = pub("dt.rover.cmd.cmd_vel", {"linear": {}})
    assert guard.feed(pub(subject, body) + after) == after
    assert guard.take_replies() == (
        f"-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n".encode()
    )


def test_anothers_name_in_a_header_is_refused() -> None:
    guard = connected()
    for name in (b"Dt-Operator", b"dt-operator", b" DT-OPERATOR "):
        forged = b"NATS/1.0\r\n" + name + b": ada/1\r\n\r\n"
        assert guard.feed(pub("dt.rover.cmd.cmd_vel", {"linear": {}}, forged)) == b""
    honest = b"NATS/1.0\r\nDt-Operator: otto/3f2a\r\n\r\n"
    data = pub("dt.rover.cmd.cmd_vel", {"linear": {}}, honest)
    assert guard.feed(data) == data


def test_a_viewer_fires_the_estop_and_never_clears_it() -> None:
    guard = connected(VERA)
    fire = pub("dt.rover.srv.teleop.estop", {"active": True, "operator": "vera/77aa"})
    assert guard.feed(fire) == fire
    for active in (False, 0, None, "false"):
        assert guard.feed(pub("dt.rover.srv.teleop.estop", {"active": active})) == b""


@pytest.mark.parametrize("subject", [">", "*.>", "_INBOX.>", "_INBOX.*", "_INBOX.*.*", "_INBOX"])
def test_nobody_overhears_everybodys_replies(subject: str) -> None:
    guard = connected()
    assert guard.feed(f"SUB {subject} 1\r\n".encode()) == b""
    assert b"Permissions Violation for Subscription" in guard.take_replies()
    assert guard.feed(b"SUB _INBOX.Ab3.* 2\r\n") == b"SUB _INBOX.Ab3.* 2\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\r\n",
        b"x" * 5000,
        b"PUB a -1\r\n",
        b"PUB a 99999999999\r\n",
        b"PUB a 1000000\r\n",
        b"PUB a\r\n",
        b"HPUB a 9 3\r\nabc\r\n",
        b"PUB a 2\r\nabcd\r\n",
        b"SUB a\r\n",
        b"INFO {}\r\n",
        b"MSG a 1 2\r\nhi\r\n",
    ],
)
def test_what_is_not_the_protocol_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        connected().feed(data)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=20))
def test_how_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    stream = b"".join(
        (
            pub("dt.rover.cmd.cmd_vel", {"linear": {"x": 1}, "operator": "otto/3f2a"}),
            pub("dt.rover.cmd.cmd_vel", {"linear": {"x": 2}, "operator": "eve/1"}),
            b"SUB _INBOX.a.* 1\r\nPING\r\n",
            pub("any.where", "PUB x 3\r\n"),
        )
    )
    whole, pieces = connected(), connected()
    expected = whole.feed(stream)
    got, at = b"", 0
    for cut in cuts:
        got += pieces.feed(stream[at : at + cut])
        at += cut
    got += pieces.feed(stream[at:])
    assert got == expected
    assert pieces.take_replies() == whole.take_replies()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_passed_refused_or_the_end_but_never_a_crash(data: bytes) -> None:
    guard = connected()
    try:
        guard.feed(data)
    except ProtocolError:
        return
