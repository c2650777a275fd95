"""The client of a realm, by the step's payload and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5


class BadStep(ValueError):
    """The realm is missing, or the client's name is invalid."""


@dataclass(frozen=True)
class Client:
    """A client of a realm; its id is derived from the step's key."""

    id: str
    realm_id: str
    name: str


def client_of(payload: Any, results: Mapping[str, Any], key: str) -> Client:
    """Return the client for the realm of createRealm's result, with the payload's name.

    >>> client_of({}, {"createRealm": {"realmId": "r1"}}, "f/createClient/1").realm_id
    'r1'
    >>> client_of({"clientName": "web"}, {"createRealm": {"realmId": "r1"}}, "k").name
    'web'
    >>> client_of({"clientName": 7}, {"createRealm": {"realmId": "r1"}}, "k")
    Traceback (most recent call last):
    functions.client_service.decide.BadStep: payload.clientName: must be a text
    >>> client_of({}, {}, "f/createClient/1")
    Traceback (most recent call last):
    functions.client_service.decide.BadStep: results.createRealm.realmId: is missing
    """
    realm = results.get("createRealm")
    realm_id = realm.get("realmId") if isinstance(realm, dict) else None
    if not isinstance(realm_id, str):
        raise BadStep("results.createRealm.realmId: is missing")
    name = payload.get("clientName", "default") if isinstance(payload, dict) else "default"
    if not isinstance(name, str) or not name:
        raise BadStep("payload.clientName: must be a text")
    return Client(str(uuid5(NAMESPACE_URL, key)), realm_id, name)
