"""The lease: one holder, who must keep saying so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_teleop.lease import Lease

S = 1_000_000_000
ROLES = ("operator", "admin")


def lease() -> Lease:
    return Lease(ROLES, 2.0)


def names(made: Lease, now_ns: int) -> list[tuple[str, str, str]]:
    return [(each.event, each.holder, each.by) for each in made.take_events(now_ns)]


def test_the_first_who_asks_holds_it_and_the_second_is_told_who() -> None:
    made = lease()
    assert made.acquire("ada", "operator", 0).ok
    answer = made.acquire("bob", "operator", 1)
    assert answer.error == "held"
    assert answer.holder is not None
    assert answer.holder.operator == "ada"
    assert made.holds("ada", 1)
    assert not made.holds("bob", 1)


def test_it_expires_two_seconds_after_the_last_renewal() -> None:
    made = lease()
    made.acquire("ada", "operator", 0)
    assert made.renew("ada", S).ok
    assert made.holds("ada", 3 * S - 1)
    assert not made.holds("ada", 3 * S)
    assert names(made, 3 * S) == [("acquired", "ada", "ada"), ("expired", "", "ada")]


def test_an_expired_lease_is_not_renewed_but_acquired_anew() -> None:
    made = lease()
    made.acquire("ada", "operator", 0)
    assert made.renew("ada", 2 * S).error == "not_holder"
    assert made.acquire("bob", "operator", 2 * S).ok


def test_acquiring_ones_own_lease_renews_it_and_keeps_its_beginning() -> None:
    made = lease()
    made.acquire("ada", "operator", 0)
    answer = made.acquire("ada", "operator", S)
    assert answer.holder is not None
    assert (answer.holder.since_ns, answer.holder.until_ns) == (0, 3 * S)


def test_only_the_holder_releases() -> None:
    made = lease()
    made.acquire("ada", "operator", 0)
    assert made.release("bob", 1).error == "not_holder"
    assert made.release("ada", 2).ok
    assert made.holder(2) is None
    assert names(made, 2)[-1] == ("released", "", "ada")


def test_a_higher_role_takes_over_and_the_loser_is_told_by_whom() -> None:
    made = lease()
    made.acquire("ada", "operator", 0)
    assert made.force("bob", "operator", 1).error == "role_too_low"
    assert made.force("eve", "admin", 2).ok
    assert made.holds("eve", 2)
    assert names(made, 2)[-1] == ("forced", "eve", "eve")
    assert made.renew("ada", 3).error == "not_holder"
    assert made.force("mia", "admin", 4).error == "role_too_low"


@pytest.mark.parametrize("operator", ["", "x" * 65, "a\nb"])
def test_an_operator_without_a_usable_name_gets_nothing(operator: str) -> None:
    assert lease().acquire(operator, "operator", 0).error == "bad_operator"
    assert lease().force(operator, "admin", 0).error == "bad_operator"


def test_a_role_that_does_not_exist_gets_nothing() -> None:
    assert lease().acquire("ada", "king", 0).error == "unknown_role"


STEP = st.tuples(
    st.integers(0, 3 * S),
    st.sampled_from(["acquire", "renew", "release", "force"]),
    st.sampled_from(["ada", "bob", "eve"]),
    st.sampled_from(ROLES),
)


@given(st.lists(STEP, max_size=50))
def test_there_is_never_a_second_holder_nor_one_who_fell_silent(
    steps: list[tuple[int, str, str, str]],
) -> None:
    made, now_ns, heard = lease(), 0, {}
    for wait_ns, what, who, role in steps:
        now_ns += wait_ns
        if what in ("acquire", "force"):
            answer = getattr(made, what)(who, role, now_ns)
        else:
            answer = getattr(made, what)(who, now_ns)
        if answer.ok:
            heard[who] = now_ns
        holding = [each for each in ("ada", "bob", "eve") if made.holds(each, now_ns)]
        assert len(holding) <= 1
        assert all(now_ns - heard[each] < 2 * S for each in holding)
        if answer.ok and what != "release":
            assert holding == [who]
