"""Fields of a route with an event's values in them, each checked; errors name route and field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from functions.job_grant import REPOSITORY
from functions.job_launcher.routes import template
from functions.job_launcher.routes.route_file import ResourceList

MAX_NAME_LENGTH = 200


class RenderError(ValueError):
    """The event lacks what its route needs; the text names route and field."""


class Fields:
    """Renders the fields of one route with the values of one event."""

    def __init__(self, route: str, values: dict[str, Any]) -> None:
        self._route, self._values = route, values

    def repository(self, field: str, text: str) -> str:
        name = self.text(field, text)
        if name and not re.match(REPOSITORY, name):
            raise RenderError(f"route {self._route}: {field}: {name[:40]!r} is not owner/name")
        return name

    def text(self, field: str, text: str, escape: Callable[[str], str] = str) -> str:
        try:
            return template.parse(text).render(self._values, escape)
        except template.MissingValue as error:
            raise RenderError(f"route {self._route}: {field}: {error.args[0]}") from None

    def image(self, text: str) -> str:
        image = self.text("image", text).strip()
        if not image:
            raise RenderError(
                f"route {self._route}: image: none is named: set JOB_IMAGE of job-launcher to the "
                "agents' image, by its digest, or image in the route"
            )
        return image

    def name(self, field: str, text: str) -> str:
        name = self.text(field, text)
        if len(name) > MAX_NAME_LENGTH:
            raise RenderError(
                f"route {self._route}: {field}: {len(name)} characters, {MAX_NAME_LENGTH} at most"
            )
        return name

    def texts(self, field: str, texts: list[str] | None) -> list[str]:
        return [
            self.text(f"{field}.{number}", text, template.dollar_safe)
            for number, text in enumerate(texts or ())
        ]

    def number(self, field: str, text: str | None, default: int, minimum: int) -> int:
        if text is None:
            return default
        given = self.text(field, text).strip()
        if not given.isdecimal() or not minimum <= int(given) <= 2**31 - 1:
            raise RenderError(
                f"route {self._route}: {field}: {given[:40]!r} is no whole number from {minimum}"
            )
        return int(given)

    def quantities(self, field: str, given: ResourceList, default: ResourceList) -> dict[str, str]:
        texts = {
            "cpu": given.cpu or default.cpu,
            "memory": given.memory or default.memory,
            "ephemeral-storage": given.storage or default.storage,
        }
        return {name: self.text(f"{field}.{name}", t) for name, t in texts.items() if t}
