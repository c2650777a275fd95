"""An open issue with a label: a state that asks for work, and the deliveries that say so.

GitHub may never try a delivery, so the state is looked at as well. What is found becomes the event
that should have come; when that comes after all, it is a repeat. The two have different ids, so
they are known by what they say: one that tells of the issue as it was when it was looked at, or
before, says nothing new.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.kit.durable import Connection
from functions.webhook_receiver.tables import Delivery

TYPE = "com.github.issue.labeled"
FOUND = "state"  # `via` of what was found by looking


@dataclass(frozen=True)
class Labelled:
    """What a delivery of `issues`, `labeled` says. `as_of`: when GitHub last changed the issue."""

    repository: str
    number: str
    label: str
    as_of: datetime

    @property
    def state(self) -> str:
        """The state's name; labels do not differ by case."""
        return f"{self.repository}/issues/{self.number} {self.label.casefold()}"


def labelled(delivery: Delivery) -> Labelled | None:
    """What it says of an issue's label; None where it is about something else.

    >>> payload = b'{"label": {"name": "Agent"}, "issue": {"updated_at": "2026-01-02T03:04:05Z"}}'
    >>> at = {"source": "https://api.github.com/repos/o/r", "subject": "7"}
    >>> labelled(Delivery("github", "d", TYPE, at, payload)).state
    'https://api.github.com/repos/o/r/issues/7 agent'
    >>> labelled(Delivery("github", "d", TYPE, at, b'{"label": {}}')) is None
    True
    """
    if delivery.source != "github" or delivery.type != TYPE:
        return None
    try:
        payload = json.loads(delivery.data)
        return Labelled(
            delivery.attributes["source"],
            delivery.attributes["subject"],
            str(payload["label"]["name"]),
            datetime.fromisoformat(payload["issue"]["updated_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


async def notified(
    connection: Connection, state: Labelled, *, only_found: bool = False
) -> Sequence[Labelled]:
    """What the ledger's deliveries say of a state; `only_found`: those that were found so."""
    rows = await connection.fetch(
        """SELECT source, id, type, attributes, data FROM delivery
           WHERE type = 'com.github.issue.labeled' AND attributes ->> 'source' = $1
             AND attributes ->> 'subject' = $2
             AND (NOT $3 OR attributes ->> 'via' = $4)""",
        *(state.repository, state.number, only_found, FOUND),
    )
    every = (labelled(Delivery(**row)) for row in rows)
    return [one for one in every if one is not None and one.state == state.state]
