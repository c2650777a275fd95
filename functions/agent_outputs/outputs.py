"""The outputs file: what an agent asks to be done, which others check and do."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from functions.events.agent import AgentUsage
from functions.events.base import Text
from functions.kit.errors import shortened


class InvalidOutputs(ValueError):
    """The file does not fit; the text names field and reason."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PullRequest(_Strict):
    """A draft pull request of the commits on the Job's branch."""

    title: Text = Field(min_length=1, max_length=200)
    body: Text = Field("", max_length=50_000)


class Outputs(_Strict):
    """What an agent wants to come of its work.

    `report` is for whoever asked for it, where that is not on GitHub; `nothing_to_do` is the reason
    why nothing should be done; `summary` is one line about what it did.
    """

    pull_request: PullRequest | None = None
    report: Text | None = Field(None, min_length=1, max_length=20_000)
    comment: Text | None = Field(None, min_length=1, max_length=50_000)
    labels: list[Annotated[Text, Field(min_length=1, max_length=50)]] = Field([], max_length=20)
    nothing_to_do: Text | None = Field(None, min_length=1, max_length=2000)
    summary: Text = Field("", max_length=500)
    usage: AgentUsage = AgentUsage()

    @model_validator(mode="after")
    def _something_or_nothing(self) -> Outputs:
        wants = bool(self.pull_request or self.comment or self.labels or self.report)
        if wants == bool(self.nothing_to_do):
            raise ValueError("say what should be done, or nothing_to_do with the reason")
        return self

    def asks(self) -> list[str]:
        """Return what it asks for, a line each."""
        return [
            *([f"a draft pull request: {self.pull_request.title}"] if self.pull_request else []),
            *([f"labels: {', '.join(self.labels)}"] if self.labels else []),
            *([f"a comment: {self.comment}"] if self.comment else []),
            *([f"a report: {self.report}"] if self.report else []),
        ]


def parse(text: str) -> Outputs:
    """Read the file; `InvalidOutputs` names the first field that is wrong."""
    try:
        return Outputs.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "file"
        # A field that is not known has whatever name the agent gave it.
        raise InvalidOutputs(shortened(f"{field}: {first['msg']}", 500)) from None
