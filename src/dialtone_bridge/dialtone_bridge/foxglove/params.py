"""Parameters of the Foxglove server, part of those of the bridge."""

from __future__ import annotations

from dataclasses import dataclass

from dialtone_bridge.foxglove.assets import MAX_BYTES
from dialtone_core.config import param

ORIGINS = [
    r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?",
    r"https://(app|studio)\.foxglove\.dev",
    r"https://lichtblick-suite\.github\.io",
    r"(file|app)://.*",
]
ASSETS = [
    r"package://[\w\-./%+ ]+\.(dae|fbx|glb|gltf|jpe?g|mtl|obj|png|stl|tiff?|urdf|webp|xacro)",
]


@dataclass(frozen=True)
class FoxgloveParams:
    """See above; ``BridgeParams`` has them all."""

    foxglove_enabled: bool = param(True, "serve Foxglove")
    foxglove_host: str = param(
        "127.0.0.1", "address to listen on; another than loopback demands the token"
    )
    foxglove_port: int = param(8765, "port to listen on; 0 is any free one", minimum=0,
                               maximum=65535)  # fmt: skip
    foxglove_public_host: str = param(
        "", "second address to listen on, for clients with the token; empty is none"
    )
    foxglove_public_port: int = param(8766, "its port; 0 is any free one", minimum=0,
                                      maximum=65535)  # fmt: skip
    foxglove_token_file: str = param(
        "", "file with the token, mode 0600; empty takes $DIALTONE_FOXGLOVE_TOKEN"
    )
    foxglove_tls_cert: str = param("", "certificate chain, PEM; empty is no TLS")
    foxglove_tls_key: str = param("", "its key, PEM; empty where it lies in the chain's file")
    foxglove_origins: list[str] = param(
        ORIGINS, "regular expressions of the origins of web pages that may connect"
    )
    foxglove_client_bytes: int = param(
        16 << 20, "how much may wait for one client; beyond it the topic that holds most loses "
        "its oldest", unit="bytes", minimum=1 << 16, maximum=1 << 30
    )  # fmt: skip
    foxglove_max_clients: int = param(
        64, "clients that may be connected at once; one more is turned away", minimum=1,
        maximum=10_000
    )  # fmt: skip
    foxglove_asset_bytes: int = param(
        MAX_BYTES, "largest file that they may fetch; nothing else crosses a line meanwhile",
        unit="bytes", minimum=1 << 10, maximum=1 << 30
    )  # fmt: skip
    allow_parameters: list[str] = param(
        [".*"], "regular expressions of parameters that clients may read, as /node.name"
    )
    settable_parameters: list[str] = param(
        [], "regular expressions of those that they may set, as /node.name"
    )
    allow_assets: list[str] = param(
        ASSETS, "regular expressions of URIs that they may fetch, in upper or lower case"
    )
    robot_description: str = param(
        "", "URDF to show, a path or package://…; empty is none but the graph's"
    )
    client_count: bool = param(False, "publish the number of clients on bridge/client_count")
