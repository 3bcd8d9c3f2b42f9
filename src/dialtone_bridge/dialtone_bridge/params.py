"""Parameters of the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dialtone_bridge.foxglove.params import FoxgloveParams
from dialtone_core.config import param

_DIRECTIONS = ("auto", "out", "in", "both", "none")
_ENCODINGS = ("auto", "cdr", "json", "jpeg")
_DELIVERY = ("auto", "latest", "queue")
_PRIORITIES = ("auto", "command", "event", "telemetry", "bulk")
_RELIABILITY = ("auto", "reliable", "best_effort")
_DURABILITY = ("auto", "volatile", "transient_local")


@dataclass(frozen=True)
class RouteParams:
    """One entry of the ``routes`` table; its name is only a label.

    ``auto`` (and 0) leave the choice to the built-in route of the topic's type.
    """

    topic: str = param("", "topic or regular expression, matched whole, with or without the "
                       "namespace")  # fmt: skip
    direction: str = param("auto", "which way it may go; auto is out, and in where command_topics "
                           "says so; none denies it", choices=_DIRECTIONS)  # fmt: skip
    encoding: str = param("auto", "payload on NATS; auto sends pictures as jpeg, the rest as cdr",
                          choices=_ENCODINGS)  # fmt: skip
    max_rate_hz: float = param(0.0, "newest messages pass, the rest is skipped; 0 is all",
                               unit="Hz", minimum=0, maximum=100_000)  # fmt: skip
    delivery: str = param("auto", "what a slow sink gets: the latest only, or a bounded queue",
                          choices=_DELIVERY)  # fmt: skip
    max_messages: int = param(0, "bound of the queue; 0 is the built-in one",
                              unit="messages", minimum=0, maximum=1_000_000)  # fmt: skip
    max_bytes: int = param(0, "bound of the queue; 0 is the built-in one",
                           unit="bytes", minimum=0, maximum=1 << 30)  # fmt: skip
    max_age_s: float = param(0.0, "what waited longer for a slow sink gives way to what is newer; "
                             "0 is the built-in one", unit="s", minimum=0,
                             maximum=86_400)  # fmt: skip
    priority: str = param("auto", "who goes first when a sink is slow", choices=_PRIORITIES)
    reliability: str = param("auto", "QoS; auto follows the publishers", choices=_RELIABILITY)
    durability: str = param("auto", "QoS; auto follows the publishers", choices=_DURABILITY)
    latched: bool = param(False, "a client that comes late gets the last message")
    always: bool = param(False, "subscribe even while nobody wants it")
    durable: bool = param(False, "kept in the robot's JetStream, for a hub; implies always")
    oversize: str = param("chunk", "what a message over NATS' max_payload becomes",
                          choices=("chunk", "drop"))  # fmt: skip
    transports: list[str] = param([], "transports that carry it; empty is all")


@dataclass(frozen=True)
class RequestParams:
    """One entry of the ``requests`` table: a ROS service that somebody on NATS answers."""

    service: str = param("", "ROS service that the bridge offers; empty is the entry's name")
    type: str = param("", "its type, such as std_srvs/srv/Trigger")
    subject: str = param("", "NATS subject that is asked; empty is dt.<robot>.req.<service.path>")
    timeout_s: float = param(2.0, "how long a reply may take", unit="s", minimum=0.01,
                             maximum=3600)  # fmt: skip


@dataclass(frozen=True)
class BridgeParams(FoxgloveParams):
    """The node ``bridge``."""

    robot: str = param("rover", "names the robot on NATS: a-z, 0-9 and _")
    transports: list[str] = param(
        ["nats", "foxglove"], "transports that run: entry points of the group dialtone.transports"
    )
    transport_options: dict[str, dict[str, Any]] = param(
        {}, "what transports of other distributions take: transport_options.<transport>.<option>"
    )
    nats_url: str = param("nats://127.0.0.1:4222", "server to connect to; empty is no NATS")
    nats_credentials: str = param(
        "", "file with a .creds, an nkey seed, or lines user=, password= or token=; empty is the "
        "embedded server's own key, or DIALTONE_NATS_TOKEN, _USER and _PASSWORD"
    )  # fmt: skip
    open_loopback: bool = param(False, "programs of this machine need no credentials at the "
                                "embedded server, and are operators")  # fmt: skip
    hub_url: str = param("", "leaf node address of a hub, nats://HOST:7422, which the embedded "
                         "server joins; empty is none")  # fmt: skip
    hub_credentials: str = param("", "file with the hub's credentials for this robot")
    durable_max_bytes: int = param(1 << 30, "what durable routes may keep; the oldest goes",
                                   unit="bytes", minimum=1 << 20)  # fmt: skip
    durable_max_age_s: float = param(7 * 86400.0, "how long it is kept", unit="s", minimum=1)
    catchup_mbps: float = param(16.0, "how fast a hub may fetch it; 0 is no limit", unit="Mbit/s",
                                minimum=0, maximum=100_000)  # fmt: skip
    nats_backlog_bytes: int = param(
        64 << 20, "how much telemetry may wait for a server that is slow; beyond it the topic "
        "that holds most loses its oldest", unit="bytes", minimum=1 << 20, maximum=1 << 32
    )  # fmt: skip
    nats_leaf: str = param(
        "", "host:port of the server's leaf nodes, to learn which topics are wanted; "
        "empty is the embedded server's own"
    )  # fmt: skip
    allow_topics: list[str] = param([".*"], "regular expressions of topics that may leave")
    deny_topics: list[str] = param([], "those that may not; wins over allow")
    include_hidden: bool = param(False, "also topics with a token that begins with _, and "
                                 "/parameter_events; without it only those that a route, "
                                 "allow_topics or command_topics names exactly")  # fmt: skip
    command_topics: list[str] = param(
        ["cmd_vel", "goal_pose", "initialpose", "clicked_point"],
        "regular expressions of topics that clients may publish on",
    )
    allow_services: list[str] = param(
        [r"teleop/(estop|arm)", r"recorder/(start|stop|pause|discard|snapshot)"],
        "regular expressions of ROS services that clients may call",
    )
    allow_actions: list[str] = param(
        [], "regular expressions of ROS actions that clients may call; they move the robot"
    )
    read_only: bool = param(False, "refuse every command, whoever sends it")
    discovery_period_s: float = param(1.0, "how often the graph is looked at", unit="s",
                                      minimum=0.1, maximum=60)  # fmt: skip
    routes: dict[str, RouteParams] = param({}, "table of routes by label")
    requests: dict[str, RequestParams] = param(
        {}, "table of ROS services that are answered on NATS, by label"
    )
