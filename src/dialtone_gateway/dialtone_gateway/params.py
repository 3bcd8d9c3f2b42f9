"""Parameters of the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from dialtone_core.config import param

_ROLES = ("viewer", "operator", "admin")


@dataclass(frozen=True)
class TailscaleParams:
    """Identity of people who come through Tailscale Serve; taken only where ``enabled``."""

    enabled: bool = param(False, "believe Tailscale's headers once tailscaled confirms them")
    socket: str = param("/var/run/tailscale/tailscaled.sock", "tailscaled's LocalAPI")
    roles: list[str] = param(
        [], "login=role, such as ada@example.com=operator; *=viewer is anyone"
    )


@dataclass(frozen=True)
class TunnelParams:
    """A program that gives the gateway a public address and prints it."""

    command: list[str] = param(
        [], "program and arguments, such as [tailscale, funnel, '8080']; empty is none"
    )
    url_pattern: str = param(r"https://[\w.-]+\S*", "regular expression of the address it prints")
    check_period_s: float = param(60.0, "how often the public address is asked for /healthz",
                                  unit="s", minimum=0.05, maximum=3600)  # fmt: skip
    failures: int = param(5, "failed checks in a row before the program is restarted", minimum=1,
                          maximum=1000)  # fmt: skip


@dataclass(frozen=True)
class GatewayParams:
    """The program ``gateway``."""

    robot: str = param("rover", "names the robot on NATS: a-z, 0-9 and _")
    namespace: str = param("/", "the robot's ROS namespace, for display")
    nats_url: str = param("nats://127.0.0.1:4222", "server to connect to")
    nats_credentials: str = param("", "path of a .creds file; empty is none")
    nats_ws_url: str = param("", "websocket listener of that server for /nats; empty is found "
                             "beside the embedded server")  # fmt: skip
    foxglove_url: str = param("", "server behind /foxglove; empty is the running bridge's")
    port: int = param(8080, "port to listen on; 0 is any free one", minimum=0, maximum=65535)
    bind: str = param("127.0.0.1", "address to listen on; 0.0.0.0 is every interface")
    dashboard: str = param("", "folder of the built dashboard; empty is the installed one")
    episodes: str = param("", "where episodes lie; empty is $DIALTONE_HOME/episodes")
    insecure_local: bool = param(
        False, "no login for viewer and operator from this machine; needs a loopback bind"
    )
    session_hours: float = param(12.0, "how long a login lasts unless refreshed", unit="h",
                                 minimum=0.01, maximum=720)  # fmt: skip
    shared_role: str = param("operator", "role of who logs in with DIALTONE_SHARED_SECRET",
                             choices=_ROLES)  # fmt: skip
    allowed_hosts: list[str] = param(
        [], "names under which browsers may reach the gateway, beside its addresses"
    )
    allowed_origins: list[str] = param(
        [], "origins of other sites that may use it, such as https://app.example.com"
    )
    trust_forwarded: bool = param(
        False, "take a client's address from X-Forwarded-For of a proxy on this machine"
    )
    public_metrics: bool = param(False, "answer /metrics without a login")
    max_connections: int = param(512, "connections at once", minimum=8, maximum=100_000)
    max_viewers: int = param(64, "video streams at once", minimum=1, maximum=10_000)
    max_variants: int = param(6, "re-encoded variants at once, of all cameras", minimum=0,
                              maximum=64)  # fmt: skip
    request_timeout_s: float = param(10.0, "a request must have come whole by then", unit="s",
                                     minimum=0.1, maximum=300)  # fmt: skip
    webrtc_peers: int = param(4, "WebRTC viewers at once; each costs an H.264 encoder; 0 is off",
                              minimum=0, maximum=64)  # fmt: skip
    tailscale: TailscaleParams = field(default_factory=TailscaleParams)
    tunnel: TunnelParams = field(default_factory=TunnelParams)
