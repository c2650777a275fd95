"""The realm of a tenant, by the step's payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5


class BadPayload(ValueError):
    """The tenant is missing, or the realm's name is invalid."""


@dataclass(frozen=True)
class Realm:
    """A realm; its id is derived from the step's key."""

    id: str
    tenant_id: str
    name: str


def realm_of(payload: Any, key: str) -> Realm:
    """Return the realm of a payload, whose default name is the tenant's.

    >>> realm_of({"tenantId": "t1"}, "f/createRealm/1").name
    't1'
    >>> realm_of({"tenantId": "t1", "realmName": "r"}, "f/createRealm/1").name
    'r'
    >>> realm_of({"realmName": "r"}, "f/createRealm/1")
    Traceback (most recent call last):
    functions.realm_service.decide.BadPayload: payload.tenantId: is missing or no text
    """
    given = payload if isinstance(payload, dict) else {}
    tenant, name = given.get("tenantId"), given.get("realmName", given.get("tenantId"))
    if not isinstance(tenant, str) or not tenant:
        raise BadPayload("payload.tenantId: is missing or no text")
    if not isinstance(name, str) or not name:
        raise BadPayload("payload.realmName: must be a text")
    return Realm(str(uuid5(NAMESPACE_URL, key)), tenant, name)
