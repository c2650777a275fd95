"""Which client a realm gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5


class BadTask(ValueError):
    """There is no realm for the client, or its name is no name."""


@dataclass(frozen=True)
class Client:
    """A client of a realm: its id is derived from the step that makes it."""

    id: str
    realm_id: str
    name: str


def client_of(payload: Any, results: Mapping[str, Any], key: str) -> Client:
    """The client for the realm that createRealm answered, under the name that a payload asks for.

    >>> client_of({}, {"createRealm": {"realmId": "r1"}}, "f/createClient/1").realm_id
    'r1'
    >>> client_of({"clientName": "web"}, {"createRealm": {"realmId": "r1"}}, "k").name
    'web'
    >>> client_of({"clientName": 7}, {"createRealm": {"realmId": "r1"}}, "k")
    Traceback (most recent call last):
    functions.client_service.decide.BadTask: payload.clientName: must be a text
    >>> client_of({}, {}, "f/createClient/1")
    Traceback (most recent call last):
    functions.client_service.decide.BadTask: results.createRealm.realmId: is missing
    """
    realm = results.get("createRealm")
    realm_id = realm.get("realmId") if isinstance(realm, dict) else None
    if not isinstance(realm_id, str):
        raise BadTask("results.createRealm.realmId: is missing")
    name = payload.get("clientName", "default") if isinstance(payload, dict) else "default"
    if not isinstance(name, str) or not name:
        raise BadTask("payload.clientName: must be a text")
    return Client(str(uuid5(NAMESPACE_URL, key)), realm_id, name)
