"""What a browser may say to NATS, byte by byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialtone_core.natsaccess import new_seed, public_key
from dialtone_core.natsauth import Login
from dialtone_gateway.proxy.guard import NatsGuard, ProtocolError
from dialtone_gateway.roles import Identity, Role

OTTO = Identity("otto", Role.OPERATOR, "3f2a", 2e9)
VERA = Identity("vera", Role.VIEWER, "77aa", 2e9)
LOGIN = Login("operator", "the servers")
CONNECT = (
    b'CONNECT {"user":"otto/3f2a","pass":"mine","verbose":false,"jwt":"x","tls_required":true}'
)


def connected(identity: Identity = OTTO) -> NatsGuard:
    guard = NatsGuard(identity, "mine", LOGIN)
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
    guard = NatsGuard(OTTO, "mine", LOGIN)
    out = guard.feed(CONNECT + b"\r\n")
    told = json.loads(out[len(b"CONNECT ") :])
    assert (told["user"], told["pass"]) == ("operator", "the servers")
    assert "jwt" not in told
    assert told["tls_required"] is False


def test_a_role_that_is_a_key_signs_the_servers_nonce() -> None:
    seed = new_seed()
    guard = NatsGuard(OTTO, "mine", Login(seed=seed))
    guard.nonce = "once"
    told = json.loads(guard.feed(CONNECT + b"\r\n")[len(b"CONNECT ") :])
    assert told["nkey"] == public_key(seed)
    assert told["sig"]
    assert seed not in json.dumps(told)
    assert "pass" not in told


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
    guard = NatsGuard(OTTO, "mine", LOGIN)
    with pytest.raises(ProtocolError):
        guard.feed(line + b"\r\n")
    assert b"Authorization Violation" in guard.take_replies()


@pytest.mark.parametrize("line", [b"PING", b"PUB a 0\r\n", b"SUB a 1"])
def test_nothing_comes_before_connect(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        NatsGuard(OTTO, "mine", LOGIN).feed(line + b"\r\n")


def test_a_second_connect_ends_it() -> None:
    with pytest.raises(ProtocolError):
        connected().feed(CONNECT + b"\r\n")


def test_ones_own_name_passes_unchanged() -> None:
    data = pub("dt.rover.cmd.cmd_vel", {"linear": {"x": 1}, "operator": "otto/3f2a"})
    assert connected().feed(data) == data
    data = pub("dt.rover.srv.teleop.lease.acquire", {"operator": "otto/3f2a", "role": "operator"})
    assert connected().feed(data) == data
    data = pub("dt.rover.cmd.neck.command", {"data": "X50?operator=otto%2F3f2a"})
    assert connected().feed(data) == data


def sent(data: bytes) -> tuple[list[bytes], dict[str, object]]:
    """The words of the one message's first line, and its JSON body; sizes must be right."""
    line, rest = data.split(b"\r\n", 1)
    words = line.split()
    assert len(rest) == int(words[-1]) + 2
    head = int(words[-2]) if words[0] == b"HPUB" else 0
    body: dict[str, object] = json.loads(rest[head:-2])
    return words, body


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ("dt.rover.cmd.cmd_vel", {"linear": {}, "operator": "ada/1"}),
        ("dt.other.cmd.cmd_vel", {"linear": {}, "operator": "ada/1"}),
        ("dt.rover.cmd.neck.command", {"data": "X50?operator=ada%2F1"}),
        ("dt.rover.cmd.neck.command", {"data": "X50?operator=otto%2F3f2a&operator=ada%2F1"}),
        ("dt.rover.cmd.neck.attitude", {"header": {"frame_id": "base_link?operator=ada"}}),
        ("dt.rover.cmd.neck.attitude", {"header": {"frame_id": "base_link?operator=ada&seq=x"}}),
        ("dt.rover.srv.recorder.start", {"task": "x", "operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.acquire", {"operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.release", {"operator": "ada/1"}),
        ("dt.other.srv.teleop.lease.release", {"operator": "ada/1"}),
        ("dt.rover.srv.teleop.lease.acquire", {"operator": "otto/3f2a", "role": "admin"}),
        ("dt.other.srv.teleop.lease.acquire", {"role": "admin"}),
        ("dt.rover.srv.teleop.estop", {"active": True, "operator": ""}),
        ("$JS.API.CONSUMER.CREATE.KV_x", {"config": {"deliver_subject": "dt.rover.cmd.cmd_vel"}}),
        ("$JS.API.CONSUMER.CREATE.KV_x", [1]),
    ],
)
def test_anothers_name_or_role_is_refused_and_the_rest_goes_on(subject: str, body: object) -> None:
    guard = connected()
    after = pub("dt.rover.cmd.cmd_vel", {"linear": {}, "operator": "otto/3f2a"})
    assert guard.feed(pub(subject, body) + after) == after
    assert guard.take_replies() == (
        f"-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n".encode()
    )


@pytest.mark.parametrize("robot", ["rover", "other"])
def test_what_names_nobody_leaves_in_the_logins_own_name(robot: str) -> None:
    guard = connected()
    _, body = sent(guard.feed(pub(f"dt.{robot}.cmd.cmd_vel", {"linear": {"x": 1}})))
    assert body == {"linear": {"x": 1}, "operator": "otto/3f2a"}
    words, body = sent(guard.feed(pub(f"dt.{robot}.srv.teleop.estop", {"active": False})))
    assert body == {"active": False, "operator": "otto/3f2a", "role": "operator"}
    assert words[0] == b"PUB"
    guard.feed(
        f"SUB _INBOX.a.* 1\r\nPUB dt.{robot}.srv.teleop.lease.acquire _INBOX.a.1 0".encode()
    )
    words, body = sent(guard.feed(b"\r\n\r\n"))
    assert words[2] == b"_INBOX.a.1"
    assert body == {"operator": "otto/3f2a", "role": "operator"}


def test_an_answer_goes_to_an_inbox_and_nowhere_else() -> None:
    guard = connected()
    for reply in (b"dt.rover.cmd.cmd_vel", b"_INBOX", b"_INBOX.", b"x._INBOX.1"):
        assert guard.feed(b"PUB dt.rover.srv.bridge.routes " + reply + b" 0\r\n\r\n") == b""
    assert guard.refused == 4
    asked = b"PUB dt.rover.srv.bridge.routes _INBOX.a.1 0\r\n\r\n"
    assert guard.feed(asked) == asked


def test_anothers_name_in_a_header_is_refused_and_so_is_one_that_cannot_be_read() -> None:
    guard = connected()
    for line in (b"Dt-Operator: ada/1", b"dt-operator:ada/1", b" DT-OPERATOR : ada/1",
                 b"Dt-Encoding: cdr"):  # fmt: skip
        forged = b"NATS/1.0\r\n" + line + b"\r\n\r\n"
        assert guard.feed(pub("dt.rover.cmd.cmd_vel", {"linear": {}}, forged)) == b""
    honest = b"NATS/1.0\r\nDt-Operator: otto/3f2a\r\nDt-Encoding: json\r\n\r\n"
    words, body = sent(guard.feed(pub("dt.rover.cmd.cmd_vel", {"linear": {}}, honest)))
    assert words[0] == b"HPUB"
    assert body["operator"] == "otto/3f2a"


def test_a_viewer_fires_the_estop_and_never_clears_it() -> None:
    guard = connected(VERA)
    fire = pub("dt.rover.srv.teleop.estop.fire", {"operator": "vera/77aa"})
    assert sent(guard.feed(fire))[1] == {"operator": "vera/77aa", "role": "viewer"}
    for active in (False, 0, None, "false"):
        assert guard.feed(pub("dt.rover.srv.teleop.estop", {"active": active})) == b""
        assert guard.feed(pub("dt.other.srv.teleop.estop", {"active": active})) == b""


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
