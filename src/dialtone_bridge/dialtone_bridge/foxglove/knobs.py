"""Parameters, as clients ask for them, set them and follow them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dialtone_bridge.foxglove import messages
from dialtone_bridge.foxglove.extras import Parameters
from dialtone_bridge.foxglove.session import MAX_ENTRIES, Session
from dialtone_core.errors import WireError


class ParameterDesk:
    """``parameters`` is ``None`` where they are not offered. On the loop."""

    def __init__(self, parameters: Parameters | None, read_only: bool) -> None:
        self._parameters = parameters
        self._read_only = read_only

    def check(self, op: str, message: Mapping[str, Any]) -> None:
        """Raises ``WireError`` for what is no request, or none that may be made."""
        if self._parameters is None:
            raise WireError("unknown_op", "parameters are not offered")
        if op == "getParameters":
            _names(message)
            return
        if self._read_only:
            raise WireError("read_only", "parameters cannot be set")
        wanted = message.get("parameters")
        if not isinstance(wanted, list) or len(wanted) > MAX_ENTRIES:
            raise WireError("bad_list", f"a list of at most {MAX_ENTRIES} parameters is wanted")
        if not all(isinstance(e, dict) and isinstance(e.get("name"), str) for e in wanted):
            raise WireError("bad_parameter", "each has a name such as /node.name")

    async def answer(
        self, session: Session, op: str, message: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Read or set what was checked, and answer; the values. Raises ``WireError``."""
        known = self._parameters
        if known is None:
            return []
        if op == "getParameters":
            values = await known.get(message["parameterNames"])
        else:
            values = await known.set(message["parameters"])
        if op == "getParameters" or message.get("id"):
            reply = {"op": "parameterValues", "parameters": values}
            if message.get("id"):
                reply["id"] = message["id"]
            session.send(messages.text(reply))
        return values

    def follow(self, session: Session, message: Mapping[str, Any], wanted: bool) -> None:
        """No names are all of them."""
        names = _names(message)
        if not names:
            session.follows_all = wanted
            session.parameters.clear()
        elif not wanted:
            session.parameters.difference_update(names)
        elif len(session.parameters.union(names)) > MAX_ENTRIES:
            raise WireError("too_many", f"more than {MAX_ENTRIES} parameters to follow")
        else:
            session.parameters.update(names)

    def tell(
        self,
        sessions: Iterable[Session],
        values: Sequence[Mapping[str, Any]],
        but: Session | None = None,
    ) -> None:
        """To those who follow them."""
        for session in sessions:
            wanted = [
                each
                for each in values
                if session.follows_all or each["name"] in session.parameters
            ]
            if wanted and session is not but:
                update = messages.text({"op": "parameterValues", "parameters": wanted})
                session.send(update)


def _names(message: Mapping[str, Any]) -> list[str]:
    names = message.get("parameterNames")
    if not isinstance(names, list) or len(names) > MAX_ENTRIES:
        raise WireError("bad_list", f"a list of at most {MAX_ENTRIES} names is wanted")
    if not all(isinstance(each, str) for each in names):
        raise WireError("bad_parameter", "a name is a string such as /node.name")
    return names
