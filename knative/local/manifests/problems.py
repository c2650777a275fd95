"""What is wrong with the YAML: collected, so that one start tells everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True)
class Problem:
    """What is to be mended, in `manifest`, kind and name, at `field`; either may be empty."""

    file: Path
    line: int | None
    manifest: str
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{show(self.file)}:{self.line}" if self.line else show(self.file)
        return ": ".join(part for part in (place, self.manifest, self.field, self.message) if part)


class ManifestError(Exception):
    """The manifests cannot be run; `problems` holds every reason found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def show(path: Path) -> str:
    """`path` as a user would type it: relative to where they are, when it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def faults(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each fault as (path of the field, words)."""
    for detail in error.errors(include_url=False):
        message = detail["msg"]
        if detail["type"] == "extra_forbidden":
            message = "is not supported by the local Knative"
        elif detail["type"] == "missing":
            message = "is missing"
        yield tuple(detail["loc"]), message[:1].lower() + message[1:]
