"""When to try a NATS server again, and what a person could do meanwhile."""

from __future__ import annotations

import random

#: What only a person can mend is not tried again sooner: refused credentials, so that no lockout
#: follows, and TLS that does not come about.
REFUSED_WAIT_S = 15.0

NO_TLS = "the server offers no TLS"


def remedy(why: str) -> str:
    """What a person can do where ``why`` a link is down is not mended by waiting; or nothing."""
    said = why.lower()
    if "authorization" in said or "authentication" in said:
        return "give nats_credentials that this server knows"
    if "nats credentials" in said:
        return "correct the file that nats_credentials names, or its mode"
    if why == NO_TLS:
        return "have the server take TLS, or give its URL as nats://"
    if "certificate" in said or "ssl" in said or "tls files" in said:
        return (
            "name the authority of the server's certificate in DIALTONE_NATS_CA, and our own "
            "certificate in DIALTONE_NATS_CERT and _KEY where the server wants one"
        )
    return ""


class Backoff:
    """Waits that double from ``first_s`` to ``last_s``, and long ones after a refusal.

    Each is drawn between half and one and a half of its length (a refusal's, between the whole and
    the double), so that a fleet does not come back at once to a hub that was restarted.
    """

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._length_s = 0.0

    @property
    def at_last(self) -> bool:
        """Whether it cannot wait longer: what is tried has been away for a while."""
        return self._length_s >= self._last_s

    def reset(self) -> None:
        """It worked."""
        self._length_s = 0.0

    def next_s(self, why: str) -> float:
        """How long to wait now that an attempt failed for ``why``."""
        if remedy(why):
            self._length_s = REFUSED_WAIT_S
            return REFUSED_WAIT_S * random.uniform(1.0, 2.0)
        self._length_s = min(max(self._length_s * 2, self._first_s), self._last_s)
        return self._length_s * random.uniform(0.5, 1.5)
