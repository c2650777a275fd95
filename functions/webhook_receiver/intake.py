"""From an HTTP request of a source to a delivery or a question: prove, then read.

Each source is a `Source`: how it proves who it is, and what its body means.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import from_json

from functions.events.webhook import GrafanaNotified
from functions.kit import cloudevents
from functions.kit.contract.problem import describe, wrong_fields
from functions.kit.telemetry import trace
from functions.webhook_receiver import decide
from functions.webhook_receiver.decide import Question
from functions.webhook_receiver.refusals import Malformed
from functions.webhook_receiver.senders import (
    github_adapter,
    github_proof,
    github_shape,
    grafana_proof,
    standard_webhooks,
)
from functions.webhook_receiver.senders.proof import Proof
from functions.webhook_receiver.settings import ReceiverSettings
from functions.webhook_receiver.tables import Delivery

MAX_REQUEST_BYTES = 1024 * 1024  # of an agent or a user; what a broker takes in any case
HERE = "/functions/webhook-receiver"
_FORM = b"payload="
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.:\-]{1,255}")
_EVENT = re.compile(r"[A-Za-z0-9_\-]{1,100}")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Arrival:
    """A request whose body is read."""

    headers: Mapping[str, str]
    body: bytes
    at: datetime


Prove = Callable[[ReceiverSettings, Mapping[str, str], datetime], Proof]
Read = Callable[[Arrival], Delivery | Question]


@dataclass(frozen=True)
class Source:
    """How a source proves who it is (it raises `Unauthenticated`), and what it says (`Malformed`).

    `max_bytes` is what it says at most.
    """

    prove: Prove
    read: Read
    max_bytes: int = sys.maxsize


def _prove_github(settings: ReceiverSettings, headers: Mapping[str, str], at: datetime) -> Proof:
    return github_proof.proof(settings.secrets["github"], headers.get(github_proof.HEADER))


def _prove_grafana(settings: ReceiverSettings, headers: Mapping[str, str], at: datetime) -> Proof:
    return grafana_proof.proof(
        settings.secrets["grafana"],
        headers.get(settings.grafana_signature_header.lower()),
        headers.get(settings.grafana_timestamp_header.lower()),
        at.timestamp(),
    )


def _prove_standard(name: str) -> Prove:
    def prove(settings: ReceiverSettings, headers: Mapping[str, str], at: datetime) -> Proof:
        return standard_webhooks.proof(settings.secrets[name], headers, at.timestamp())

    return prove


def _read_github(arrival: Arrival) -> Delivery:
    event = _header(arrival.headers, "X-GitHub-Event", _EVENT)
    id = _header(arrival.headers, "X-GitHub-Delivery", _ID)
    # What was signed says whether it is a form; the header was not signed.
    is_form = arrival.body.startswith(_FORM)
    data = _payload_of_form(arrival.body) if is_form else arrival.body
    payload = _object(data, "the body is not valid JSON, nor a form with the field payload")
    try:
        github_shape.check(event, payload)
    except ValueError as error:
        raise Malformed(f"header X-GitHub-Event: {error}") from None
    adapted = github_adapter.adapt(event, payload, arrival.at)
    message = cloudevents.Message(
        id, adapted.source, adapted.type, data, adapted.subject, adapted.time, "application/json"
    )
    digest = hashlib.sha256(arrival.body).digest()
    return _delivery("github", arrival, message, digest, payload)


def _read_grafana(arrival: Arrival) -> Delivery:
    body = _object(arrival.body)
    kind = f"{GrafanaNotified.type}.{body.get('status')}"
    if kind.rpartition(".")[2] not in ("firing", "resolved"):
        raise Malformed("status: must be firing or resolved")
    try:
        adapted = GrafanaNotified.model_validate({**body, "event_type": kind})
        id = decide.grafana_id(body)
    except ValidationError as error:
        raise Malformed(describe(error)) from None
    subject = "".join(c for c in adapted.receiver[:200] if c.isprintable()) or None
    time = cloudevents.format_time(arrival.at)
    message = cloudevents.Message(
        id, f"{HERE}/grafana", kind, arrival.body, subject, time, "application/json"
    )
    return _delivery("grafana", arrival, message)


Meaning = Callable[[Mapping[str, Any], str], decide.Asked | Question]


def _asked(name: str, meaning: Meaning, field_of: Callable[[str], str]) -> Read:
    """`field_of`: where the sender's body has a field of the event."""

    def read(arrival: Arrival) -> Delivery | Question:
        # Unsigned requests need no id; they are each a request of their own.
        given = "webhook-id" in arrival.headers
        id = _header(arrival.headers, "webhook-id", _ID) if given else str(uuid4())
        try:
            found = meaning(_object(arrival.body), id)
            if isinstance(found, Question):
                return found
            data = found.model_dump_json(exclude=set(found.attributes())).encode()
        except ValidationError as error:
            raise Malformed(_described(error, field_of)) from None
        except ValueError as error:
            raise Malformed(str(error)) from None
        subject = "".join(c for c in found.subject() or "" if c.isprintable()) or None
        time = cloudevents.format_time(arrival.at)
        message = cloudevents.Message(
            id, f"{HERE}/{name}", found.type, data, subject, time, "application/json"
        )
        return _delivery(name, arrival, message)

    return read


def _described(error: ValidationError, field_of: Callable[[str], str]) -> str:
    def named(field: str) -> str:
        name, dot, rest = field.partition(".")
        return field_of(name) + dot + rest

    return "; ".join(f"{named(one.field)}: {one.reason}" for one in wrong_fields(error.errors()))


_PM = _asked("pm", decide.pm, decide.pm_field)
_CLI = _asked("cli", decide.cli, decide.cli_field)
SOURCES: Mapping[str, Source] = {
    "github": Source(_prove_github, _read_github),
    "grafana": Source(_prove_grafana, _read_grafana),
    "pm": Source(
        _prove_standard("pm"), _asked("pm", decide.pm, decide.pm_field), MAX_REQUEST_BYTES
    ),
    "cli": Source(
        _prove_standard("cli"), _asked("cli", decide.cli, decide.cli_field), MAX_REQUEST_BYTES
    ),
}


def _delivery(
    source: str,
    arrival: Arrival,
    message: cloudevents.Message,
    body_digest: bytes | None = None,
    payload: Any = None,
) -> Delivery:
    attributes = cloudevents.attributes(message) | {"correlationid": message.id}
    if message.subject:
        # Issue 7 of one repository need not wait for issue 7 of another.
        attributes["partitionkey"] = f"{message.source}#{message.subject}"
    carried = trace.carried(arrival.headers)
    if _TRACE.fullmatch(carried.get("traceparent", "")):
        attributes["traceparent"] = carried["traceparent"]
    id, type_ = message.id, message.type
    return Delivery(source, id, type_, attributes, message.data, body_digest, payload)


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    found = headers.get(name.lower())
    if found is None:
        raise Malformed(f"header {name} is missing")
    if not form.fullmatch(found):
        raise Malformed(f"header {name} is not what it should be: {form.pattern}")
    return found


def _object(body: bytes, otherwise: str = "the body is not valid JSON") -> Mapping[str, Any]:
    try:
        # pydantic's parser: half the time of json's.
        found = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"{otherwise}: {error}") from None
    if not isinstance(found, dict):
        raise Malformed("the body must be a JSON object")
    return found


def _payload_of_form(body: bytes) -> bytes:
    """What is in the form's only field."""
    if b"&" in body:
        raise Malformed("the form must have the field payload and no other")
    return unquote_to_bytes(body.removeprefix(_FORM).replace(b"+", b" "))
