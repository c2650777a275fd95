"""The field types of a route, validated when the file is read.

A text is a template; one without an expression is validated as a literal value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from functions.events.webhook import TEAM, Permission
from functions.job_launcher.routes import template

EVENT_VARIABLES = ("data", "id", "source", "type", "subject", "time")
MATCH_VARIABLES = ("action", "labels", "branch", "severity")  # as in `render.values_of`
ITEM_VARIABLES = ("item", "items")

_NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_QUANTITY = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:m|k|[MGTPE]|[KMGTPE]i)?")


def references_items(value: object) -> bool:
    """Does a text in it reference `item` or `items`?"""
    if isinstance(value, str):
        return bool(template.parse(value).names & set(ITEM_VARIABLES))
    if isinstance(value, Mapping):
        return any(map(references_items, value.values()))
    return isinstance(value, list) and any(map(references_items, value))


def _is_template(text: str) -> str:
    known = (*EVENT_VARIABLES, *MATCH_VARIABLES, *ITEM_VARIABLES)
    for name in sorted(template.parse(text).names):
        if name not in known:
            raise ValueError(f"{name} is undefined: a path begins with {', '.join(known)}")
    return text


def _is_path(text: str) -> str:
    template.path(text)
    return text


def _is_team(text: str) -> str:
    if not re.fullmatch(TEAM, text):
        raise ValueError(f"{text[:60]!r} is no team such as acme/maintainers, as in ACTOR_TEAMS")
    return text


def _is_no_team(value: object) -> object:
    if isinstance(value, str) and "/" in value:
        raise ValueError(f"{value[:60]!r} is a team: give it as team, and name it in ACTOR_TEAMS")
    return value


def _literal(is_valid: Callable[[str], object], description: str) -> AfterValidator:
    """Validate a text without an expression."""

    def check(text: str) -> str:
        if "{{" not in text and not is_valid(text.strip()):
            raise ValueError(f"{text[:40]!r} is no {description}")
        return text

    return AfterValidator(check)


def _is_integer_from(minimum: int) -> Callable[[str], bool]:
    return lambda text: (
        text.isascii() and text.isdecimal() and len(text) < 11 and minimum <= int(text) < 2**31
    )


def as_list(value: object) -> object:
    """Return a list of one text, which may stand without its brackets."""
    return [value] if isinstance(value, str) else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_template)]
Count = Annotated[Text, _literal(_is_integer_from(0), "whole number from 0")]
Seconds = Annotated[Text, _literal(_is_integer_from(1), "whole number from 1")]
Quantity = Annotated[Text, _literal(_QUANTITY.fullmatch, "quantity such as 500m, 2 or 4Gi")]
Image = Annotated[Text, _literal(_IMAGE.fullmatch, "image such as ghcr.io/acme/agent:1")]
DottedPath = Annotated[str, AfterValidator(_is_path)]
Patterns = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]
Team = Annotated[str, AfterValidator(_is_team)]
Actor = Annotated[Permission, BeforeValidator(_is_no_team)]
Teams = Annotated[list[Team], BeforeValidator(as_list), Field(min_length=1)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FileName = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
SecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
SecretKeyName = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
