"""Sessions, and what this process knows of attempts to begin one."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from functions.kit.context import Resources

# Who signed in signs in again the next day.
SESSION_S = 12 * 3600
# So many failed attempts of a peer within so many seconds, and no more of it are looked at.
MAX_ATTEMPTS = 10
ATTEMPTS_S = 60.0
MAX_PEERS = 10_000
# How long signing in at the issuer may take.
ATTEMPT_S = 600


@dataclass(frozen=True)
class Session:
    """What the browser's cookie says: a random id, and who signed in, with the groups that the
    lists of roles name."""

    id: str
    name: str = ""
    groups: tuple[str, ...] = ()
    fresh: bool = False


class UsedAttempts:
    """The states of sign-ins at the issuer that came back, which takes each of its codes once."""

    def __init__(self, resources: Resources) -> None:
        self._until: dict[str, float] = {}

    def use(self, state: str) -> bool:
        """Is it the first time?"""
        now = time.monotonic()
        self._until = {state: until for state, until in self._until.items() if until > now}
        if state in self._until:
            return False
        self._until[state] = now + ATTEMPT_S
        return True


class SignInAttempts:
    """Failed attempts to sign in, counted by peer: none can guess at speed, or lock out another."""

    def __init__(self, resources: Resources) -> None:
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, peer: str) -> None:
        self._failed.setdefault(peer, deque(maxlen=MAX_ATTEMPTS)).append(time.monotonic())
        self._failed.move_to_end(peer)
        if len(self._failed) > MAX_PEERS:
            self._failed.popitem(last=False)

    def wait_s(self, peer: str) -> float:
        """How long until the peer's next attempt is looked at, seconds; 0 where it is at once."""
        failed = self._failed.get(peer)
        if failed is None or len(failed) < MAX_ATTEMPTS:
            return 0.0
        return max(0.0, failed[0] + ATTEMPTS_S - time.monotonic())
