"""Parameters, as clients ask for them, set them and follow them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.extras import Parameters
from dialtone_bridge.foxglove.session import Session
from dialtone_core.errors import WireError


class ParameterDesk:
    """``parameters`` is ``None`` where they are not offered. On the loop."""

    def __init__(self, parameters: Parameters | None, read_only: bool) -> None:
        self._parameters = parameters
        self._read_only = read_only

    async def answer(
        self, session: Session, op: str, message: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Read or set, and answer; the values. Raises ``WireError``."""
        known = self._parameters
        if known is None:
            raise WireError("unknown_op", "parameters are not offered")
        if op == "getParameters":
            values = await known.get([str(each) for each in message["parameterNames"]])
        elif self._read_only:
            raise WireError("read_only", "parameters cannot be set")
        else:
            values = await known.set(message["parameters"])
        if op == "getParameters" or message.get("id"):
            reply = {"op": "parameterValues", "parameters": values}
            if message.get("id"):
                reply["id"] = message["id"]
            session.send(messages.text(reply))
        return values

    def follow(self, session: Session, names: Sequence[str], wanted: bool) -> None:
        if wanted:
            session.parameters |= set(names)
        else:
            session.parameters -= set(names)

    def tell(
        self,
        sessions: Iterable[Session],
        values: Sequence[Mapping[str, Any]],
        but: Session | None = None,
    ) -> None:
        """To those who follow them."""
        for session in sessions:
            wanted = [each for each in values if each["name"] in session.parameters]
            if wanted and session is not but:
                update = messages.text({"op": "parameterValues", "parameters": wanted})
                session.send(update)
