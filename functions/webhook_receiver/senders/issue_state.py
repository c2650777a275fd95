"""An open issue or pull request with a label: a state that asks for work, and what says so.

GitHub may never try a delivery, so the state is looked at as well. What is found becomes the event
that should have come; when that comes after all, it is a repeat. The two have different ids, so
they are known by what they say: one that tells of the issue as it was when it was looked at, or
before, says nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.kit.durable import Connection
from functions.webhook_receiver.tables import Delivery

FOUND = "state"  # `via` of what was found by looking


@dataclass(frozen=True)
class Kind:
    """What may have a label: the type and GitHub's name of the event, and where the object is, in
    its payload and in the API."""

    type: str
    event: str
    part: str
    at: str


ISSUE = Kind("com.github.issue.labeled", "issues", "issue", "issues")
PULL_REQUEST = Kind("com.github.pull_request.labeled", "pull_request", "pull_request", "pulls")
KINDS = {kind.type: kind for kind in (ISSUE, PULL_REQUEST)}


@dataclass(frozen=True)
class Labelled:
    """What a delivery of `labeled` says. `as_of`: when GitHub last changed the object."""

    kind: Kind
    repository: str
    number: str
    label: str
    as_of: datetime

    @property
    def state(self) -> str:
        """The state's name; labels do not differ by case."""
        return f"{self.repository}/{self.kind.at}/{self.number} {self.label.casefold()}"


def labelled(delivery: Delivery) -> Labelled | None:
    """What it says of a label; None where it is about something else.

    >>> payload = b'{"label": {"name": "Agent"}, "issue": {"updated_at": "2026-01-02T03:04:05Z"}}'
    >>> at = {"source": "https://api.github.com/repos/o/r", "subject": "7"}
    >>> labelled(Delivery("github", "d", ISSUE.type, at, payload)).state
    'https://api.github.com/repos/o/r/issues/7 agent'
    >>> labelled(Delivery("github", "d", ISSUE.type, at, b'{"label": {}}')) is None
    True
    """
    kind = KINDS.get(delivery.type)
    if delivery.source != "github" or kind is None:
        return None
    try:
        payload = delivery.json()
        return Labelled(
            kind,
            delivery.attributes["source"],
            delivery.attributes["subject"],
            str(payload["label"]["name"]),
            datetime.fromisoformat(payload[kind.part]["updated_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


async def notified(
    connection: Connection, state: Labelled, *, only_found: bool = False
) -> Sequence[Labelled]:
    """What the ledger's deliveries say of a state; `only_found`: those that were found so."""
    rows = await connection.fetch(
        """SELECT source, id, type, attributes, data FROM delivery
           WHERE type = $5 AND type LIKE 'com.github.%.labeled'
             AND attributes ->> 'source' = $1 AND attributes ->> 'subject' = $2
             AND (NOT $3 OR attributes ->> 'via' = $4)""",
        *(state.repository, state.number, only_found, FOUND, state.kind.type),
    )
    every = (labelled(Delivery(**row)) for row in rows)
    return [one for one in every if one is not None and one.state == state.state]
