"""Which client a realm gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5


class NoRealm(ValueError):
    """No earlier step has made a realm."""


@dataclass(frozen=True)
class Client:
    """A client of a realm: its id is derived from the step that makes it."""

    id: str
    realm_id: str


def client_of(results: Mapping[str, Any], key: str) -> Client:
    """The client for the realm that createRealm answered.

    >>> client_of({"createRealm": {"realmId": "r1"}}, "f/createClient/1").realm_id
    'r1'
    >>> client_of({}, "f/createClient/1")
    Traceback (most recent call last):
    functions.client_service.decide.NoRealm: results.createRealm.realmId: is missing
    """
    realm = results.get("createRealm")
    realm_id = realm.get("realmId") if isinstance(realm, dict) else None
    if not isinstance(realm_id, str):
        raise NoRealm("results.createRealm.realmId: is missing")
    return Client(str(uuid5(NAMESPACE_URL, key)), realm_id)
