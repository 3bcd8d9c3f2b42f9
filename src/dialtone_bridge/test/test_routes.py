"""The route table, the figures and the QoS plan: all pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialtone_bridge.params import RouteParams
from dialtone_bridge.qos import Offer, plan
from dialtone_bridge.routes import RouteTable, topic_path
from dialtone_bridge.stats import FlowStats, RateCap, Refusals
from dialtone_core.clock import NS_PER_S
from dialtone_core.delivery import Policy, Priority
from dialtone_core.errors import ConfigError
from dialtone_core.sample import Sample

IMAGE = "sensor_msgs/msg/CompressedImage"


def table(**routes: RouteParams) -> RouteTable:
    return RouteTable(routes, commands=["cmd_vel"])


def leaves(routes: RouteTable, *topics: str) -> list[str]:
    """Those of ``topics`` that may leave."""
    return [topic for topic in topics if routes.route(topic, "std_msgs/msg/String") is not None]


def test_a_plain_robot_is_bridged_with_no_table() -> None:
    camera = table().route("/camera/front/image_raw/compressed", IMAGE)
    odom = table().route("/odom", "nav_msgs/msg/Odometry")
    assert camera is not None
    assert odom is not None
    assert (camera.encoding, camera.priority) == ("jpeg", Priority.BULK)
    assert (odom.encoding, odom.priority, odom.max_rate_hz) == ("cdr", Priority.TELEMETRY, 0)


def test_deny_wins_over_allow_and_over_an_entry() -> None:
    routes = RouteTable({"all": RouteParams(topic="secret")}, allow=[".*"], deny=["secret"])
    assert routes.route("/secret", "std_msgs/msg/String") is None
    assert not routes.accepts("/secret")


def test_an_exact_name_beats_a_pattern_and_a_longer_pattern_a_shorter() -> None:
    routes = table(
        a=RouteParams(topic="camera/front", max_rate_hz=1.0),
        b=RouteParams(topic="camera/.*", max_rate_hz=2.0),
        c=RouteParams(topic=".*", max_rate_hz=3.0),
    )
    rates = {
        topic: found.max_rate_hz
        for topic in ("camera/front", "camera/rear", "odom")
        if (found := routes.route(f"/{topic}", IMAGE)) is not None
    }
    assert rates == {"camera/front": 1.0, "camera/rear": 2.0, "odom": 3.0}


def test_the_table_serves_any_namespace() -> None:
    routes = RouteTable({"o": RouteParams(topic="odom", max_rate_hz=5.0)}, namespace="/robot2")
    ours = routes.route("/robot2/odom", "nav_msgs/msg/Odometry")
    others = routes.route("/odom", "nav_msgs/msg/Odometry")
    assert ours is not None
    assert others is not None
    assert (ours.label, others.label) == ("o", "default")
    assert topic_path("/robot2/odom", "/robot2") == "odom"
    assert topic_path("/robot22/odom", "/robot2") == "/robot22/odom"


@pytest.mark.parametrize(
    ("pattern", "namespace", "matched"),
    [
        ("odom", "/", {"/odom"}),
        ("/odom", "/", {"/odom"}),
        ("/.*/odom", "/", {"/robot2/odom"}),
        ("odom", "/robot2", {"/robot2/odom"}),
        ("/robot2/odom", "/robot2", {"/robot2/odom"}),
        ("/odom", "/robot2", {"/odom"}),
    ],
)
def test_a_pattern_matches_the_path_and_the_full_name(
    pattern: str, namespace: str, matched: set[str]
) -> None:
    topics = {"/odom", "/robot2/odom"}
    denied = RouteTable({}, deny=[pattern], namespace=namespace)
    allowed = RouteTable({}, allow=[pattern], namespace=namespace)
    asked = RouteTable({}, commands=[pattern], namespace=namespace)
    entry = RouteTable({"o": RouteParams(topic=pattern)}, namespace=namespace)
    assert set(leaves(denied, *topics)) == topics - matched
    assert set(leaves(allowed, *topics)) == matched
    assert {topic for topic in topics if asked.accepts(topic)} == matched
    routes = {topic: entry.route(topic, "std_msgs/msg/String") for topic in topics}
    assert {topic for topic, made in routes.items() if made and made.label == "o"} == matched


HIDDEN = ("/_secret", "/arm/_action/status", "/parameter_events")


def test_hidden_topics_stay_whatever_else_is_denied_and_whatever_pattern_matches() -> None:
    routes = RouteTable(
        {"all": RouteParams(topic=".*", direction="both"), "some": RouteParams(topic="_.*")},
        deny=["secret"],
        commands=[".*"],
    )
    assert leaves(routes, *HIDDEN) == []
    assert not any(map(routes.accepts, HIDDEN))
    assert [routes.refusal(topic) for topic in HIDDEN] == ["hidden"] * 3


def test_hidden_topics_leave_where_they_are_asked_for() -> None:
    assert leaves(RouteTable({}, include_hidden=True), *HIDDEN) == list(HIDDEN)
    named = RouteTable({"s": RouteParams(topic="_secret")})
    listed = RouteTable({}, allow=[".*", "/_secret"], commands=["_secret"])
    assert leaves(named, *HIDDEN) == leaves(listed, *HIDDEN) == ["/_secret"]
    assert not named.accepts("/_secret")
    assert listed.accepts("/_secret")


def test_a_namespace_that_is_hidden_hides_none_of_its_topics() -> None:
    assert leaves(RouteTable({}, namespace="/_lab"), "/_lab/odom", "/_lab/_x") == ["/_lab/odom"]


def test_a_topic_that_may_not_leave_has_a_reason() -> None:
    shut = RouteParams(topic="shut", direction="none")
    routes = RouteTable({"s": shut}, allow=["[a-z]+"], deny=["secret"])
    topics = ("/odom", "/secret", "/_x", "/x2", "/shut")
    assert [routes.refusal(topic) for topic in topics] == [
        "",
        "deny_topics",
        "hidden",
        "not in allow_topics",
        "route s",
    ]


@pytest.mark.parametrize(
    ("direction", "out", "into"),
    [
        ("auto", True, True),
        ("out", True, False),
        ("in", False, True),
        ("both", True, True),
        ("none", False, False),
    ],
)
def test_a_direction_that_is_written_wins_over_command_topics(
    direction: str, out: bool, into: bool
) -> None:
    goal = {"g": RouteParams(topic="goal_pose", direction=direction)}
    routes = RouteTable(goal, commands=["goal_pose"])
    made = routes.route("/goal_pose", "geometry_msgs/msg/PoseStamped")
    assert (made is not None, routes.accepts("/goal_pose")) == (out, into)
    if made is not None:
        assert made.direction == ("both" if into else "out")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            RouteParams(topic="x", transports=["nats", "natss"]),
            r"routes\.x\.transports is \['nats', 'natss'\], and 'natss' is no transport here. "
            r"Fix: give some of nats, foxglove, memory",
        ),
        (
            RouteParams(topic="x", durable=True, transports=["foxglove"]),
            r"routes\.x\.durable is true, but routes\.x\.transports is \['foxglove'\], "
            r"without nats. Fix: ",
        ),
    ],
)
def test_an_entry_that_could_do_nothing_stops_the_start(entry: RouteParams, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RouteTable({"x": entry}, transports=["nats", "foxglove", "memory"])
    RouteTable({"x": RouteParams(topic="x", transports=["anything"])})


def test_clients_publish_only_where_the_table_lets_them() -> None:
    routes = table(
        goal=RouteParams(topic="goal", direction="both"),
        shut=RouteParams(topic="shut", direction="none"),
    )
    accepted = {name: routes.accepts(f"/{name}") for name in ("cmd_vel", "goal", "shut", "odom")}
    assert accepted == {"cmd_vel": True, "goal": True, "shut": False, "odom": False}


def test_a_pattern_that_is_none_names_its_parameter() -> None:
    with pytest.raises(ConfigError, match=r"routes\.bad\.topic is '\*'"):
        table(bad=RouteParams(topic="*"))
    with pytest.raises(ConfigError, match=r"deny_topics\[1\]"):
        RouteTable({}, deny=["x", "("])


def test_bounds_and_delivery_of_an_entry_reach_its_policy() -> None:
    routes = table(
        slow=RouteParams(topic="slow", delivery="latest", priority="command"),
        deep=RouteParams(topic="deep", max_messages=7, max_bytes=900, max_age_s=0.5),
    )
    slow = routes.route("/slow", "std_msgs/msg/String")
    deep = routes.route("/deep", "std_msgs/msg/String")
    assert slow is not None
    assert deep is not None
    assert (slow.policy.kind, slow.priority) == ("latest", Priority.COMMAND)
    assert deep.policy == Policy("queue", 7, 900, NS_PER_S // 2)


def test_pictures_grow_old_in_a_second_and_what_must_arrive_never() -> None:
    routes = table(
        kept=RouteParams(topic="kept", durable=True),
        stays=RouteParams(topic="stays", latched=True, max_age_s=1.0),
    )

    def age_s(topic: str, type_name: str = "std_msgs/msg/String") -> float:
        route = routes.route(topic, type_name)
        assert route is not None
        return route.policy.max_age_ns / NS_PER_S

    assert age_s("/picture", "sensor_msgs/msg/Image") == 1.0
    assert age_s("/chatter") == 5.0
    assert age_s("/rosout", "rcl_interfaces/msg/Log") == 0.0
    assert (age_s("/kept"), age_s("/stays")) == (0.0, 0.0)
    latched = routes.route("/map", "nav_msgs/msg/OccupancyGrid")
    assert latched is not None
    assert latched.as_latched().policy.max_age_ns == 0


@given(hz=st.integers(1, 60), cap=st.integers(1, 60))
def test_a_capped_stream_keeps_its_cap_and_wastes_none_of_it(hz: int, cap: int) -> None:
    limit = RateCap(cap)
    passed = sum(limit.passes(index * NS_PER_S // hz) for index in range(hz * 20))
    ideal = min(hz, cap) * 20
    assert ideal * 0.9 - 1 <= passed <= ideal * 1.02 + 1


def test_a_stream_that_stalled_is_not_let_through_in_a_burst() -> None:
    limit = RateCap(10)
    assert limit.passes(0)
    assert [limit.passes(NS_PER_S * 100 + step) for step in range(5)] == [True, *[False] * 4]


def test_rates_are_measured_between_two_looks() -> None:
    stats = FlowStats()
    stats.measure(NS_PER_S)
    sample = Sample("/a", "std_msgs/msg/String", "cdr", bytes(100), 1, 2)
    for _ in range(10):
        stats.count([sample] * 3, 2)
    assert (stats.messages, stats.bytes, stats.last_ns) == (30, 3000, 2)
    assert stats.measure(2 * NS_PER_S) == 30
    assert stats.measure(3 * NS_PER_S) == 0


def test_refusals_are_told_apart() -> None:
    refusals = Refusals()
    refusals.count("not_json", "line 1")
    refusals.count("not_json")
    assert (refusals.total(), refusals.last) == (2, "not_json")


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([Offer(True, True), Offer(True, True)], (True, True, ())),
        ([Offer(True, False), Offer(False, False)], (False, False, ("reliability",))),
        ([Offer(True, True), Offer(True, False)], (True, False, ("durability",))),
        ([], (False, False, ())),
    ],
)
def test_qos_asks_for_what_every_publisher_offers(
    offers: list[Offer], expected: tuple[bool, bool, tuple[str, ...]]
) -> None:
    found = plan(offers)
    assert (found.reliable, found.transient_local, found.mixed) == expected


def test_a_route_overrides_the_qos() -> None:
    found = plan([Offer(True, True)], reliability="best_effort", durability="volatile")
    assert (found.reliable, found.transient_local) == (False, False)
