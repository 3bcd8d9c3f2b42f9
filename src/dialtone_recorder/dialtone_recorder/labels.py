"""The labels of an episode, checked wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dialtone_core.errors import DialtoneError

TEXTS = ("task", "instruction", "operator", "outcome")
LABELS = (*TEXTS, "tags")
OUTCOMES = ("", "success", "fail")


def check_labels(request: Mapping[str, Any]) -> dict[str, Any]:
    """The labels in a request; raises ``DialtoneError`` for a wrong name, type or outcome."""
    labels: dict[str, Any] = {}
    for key, value in request.items():
        if key in TEXTS:
            good = isinstance(value, str) and len(value) <= 1000
        elif key == "tags":
            good = isinstance(value, list) and all(isinstance(each, str) for each in value)
        else:
            raise DialtoneError(f"no label {key!r:.60}", fix=f"known are {', '.join(LABELS)}")
        if not good:
            raise DialtoneError(
                f"{key} is {str(value)!r:.60}", fix="give a text, or a list of texts for tags"
            )
        labels[key] = value
    if labels.get("outcome", "") not in OUTCOMES:
        raise DialtoneError(f"outcome is {labels['outcome']!r}", fix="give success or fail")
    return labels
