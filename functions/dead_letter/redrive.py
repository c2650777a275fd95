"""Sending a dead letter's event to the broker again, as it was or edited."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from functions.dead_letter import decide, tables
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.durable import UserAction, record_action
from functions.kit.errors import Conflict, PermanentError

Reason = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=1000, pattern=r"^[^\x00]*$")
]


class Edit(BaseModel):
    """What is sent in place of the event: other data, other attributes, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Any = None
    attributes: dict[str, str] = Field(default_factory=dict)
    reason: Reason = ""

    @property
    def is_empty(self) -> bool:
        return "data" not in self.model_fields_set and not self.attributes


def as_kept(dead_letter: tables.DeadLetter) -> cloudevents.Message:
    """The event as it first came, with the number of its dead letter."""
    if dead_letter.is_cut:
        raise Conflict(
            f"dead letter {dead_letter.number} holds only the beginning of its data: edit it, with "
            "the whole data, or dismiss it"
        )
    marked = decide.original(dead_letter.verbatim) | {"redriveof": str(dead_letter.number)}
    _check_content_type(marked)
    return cloudevents.as_received(marked, dead_letter.data)


def edited(dead_letter: tables.DeadLetter, edit: Edit) -> cloudevents.Message:
    """The event with what was edited: another event, caused by the first, with an id of its own.

    Under the same id a function that handled the first event would treat this one as a repeat. The
    id follows from the content, so that the same edit sent twice is one event.
    """
    first = decide.original(cloudevents.attributes(dead_letter.event))
    if fixed := {"id", "source"} & edit.attributes.keys():
        raise PermanentError(f"attributes: {', '.join(sorted(fixed))} cannot be edited")
    attributes = first | edit.attributes
    data = dead_letter.data
    if "data" in edit.model_fields_set:
        kind = attributes.get("datacontenttype", "application/json")
        is_text = isinstance(edit.data, str) and "json" not in kind
        data = (edit.data if is_text else json.dumps(edit.data, ensure_ascii=False)).encode()
    elif dead_letter.is_cut:
        raise Conflict(f"dead letter {dead_letter.number} holds only the beginning of its data")
    content = json.dumps([dead_letter.number, attributes, data.hex()], sort_keys=True)
    attributes |= {
        "id": str(uuid5(NAMESPACE_URL, content)),
        "causationid": first["id"],
        "correlationid": first.get("correlationid") or first["id"],
        "redriveof": str(dead_letter.number),
    }
    try:
        return cloudevents.from_json(_document(attributes, data))
    except cloudevents.NotAnEvent as error:
        raise PermanentError(str(error)) from None


def _document(attributes: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """For the checks of the JSON format: what cannot travel is refused before it is sent."""
    _check_content_type(attributes)
    return cloudevents.to_json(cloudevents.from_attributes(attributes, data))


def _check_content_type(attributes: Mapping[str, str]) -> None:
    """Other attributes are percent-encoded where a header cannot hold them."""
    if any(ord(c) < 32 or ord(c) == 127 for c in attributes.get("datacontenttype", "")):
        raise PermanentError(
            "datacontenttype holds a control character, which no header can: edit it"
        )


async def redrive(
    number: int,
    who: str,
    reason: str,
    ctx: Context,
    message: cloudevents.Message | None = None,
    *,
    is_edited: bool = False,
) -> bool:
    """Put one dead letter's event into the outbox; False where it is not to be sent.

    `message` is what is sent; without it the event as it was. With the event it is recorded who
    sent it, and the dead letter says "redriving" until the event has left. Sending it twice is
    harmless, as functions know an event by its source and id. If it fails anew, its dead letter
    opens the row.
    """
    durable = ctx.resources.durable
    async with ctx.store.transaction() as tx:
        claim = await tables.claim(tx, number, edited=is_edited)
        if claim is None:
            return False
        (entry,) = await durable.put(tx, ctx.function, [message or as_kept(claim.dead_letter)])
        action = "sent again, edited" if is_edited else "sent again"
        done = UserAction(who, action, f"dead letter {number}", reason)
        recorded = await record_action(tx, ctx.function, done, ctx.now())
        await tables.link(tx, claim.redrive, entry.number, recorded)
    durable.deliver([entry])
    return True
