"""What all kinds share: strict models, metadata, durations, destinations."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

_DURATION = re.compile(
    r"^P(?:(?P<weeks>\d+(?:\.\d+)?)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
)
_UNITS_S = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}

CLUSTER_WIDE = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding"})


def refuse(message: str) -> PydanticCustomError:
    """An error whose text reaches the reader as it is."""
    return PydanticCustomError("refused", "{message}", {"message": message})


class Strict(BaseModel):
    """Camel case outside, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, populate_by_name=False
    )


class OneOf(Strict):
    """Exactly one of the fields in `one_of` is set."""

    one_of: ClassVar[tuple[str, ...]]

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(getattr(self, name) is not None for name in self.one_of) != 1:
            names = " or ".join(map(to_camel, self.one_of))
            raise refuse(f"needs exactly one of {names}")
        return self


def seconds(duration: str) -> float:
    """The seconds of an ISO 8601 duration such as PT0.2S; raises ValueError."""
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groupdict().values()):
        raise ValueError(f"{duration!r} is not an ISO 8601 duration such as PT0.2S or P1D")
    return sum(float(value) * _UNITS_S[unit] for unit, value in match.groupdict().items() if value)


def _duration(value: str) -> str:
    try:
        seconds(value)
    except ValueError as error:
        raise refuse(str(error)) from None
    return value


def _positive_duration(value: str) -> str:
    if seconds(_duration(value)) <= 0:
        raise refuse(f"must be longer than zero, it is {value}")
    return value


def _dns_label(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", value):
        raise refuse(f"{value!r} is not a DNS name: lower-case letters, digits and dashes")
    return value


Duration = Annotated[str, AfterValidator(_duration)]
PositiveDuration = Annotated[str, AfterValidator(_positive_duration)]
DnsName = Annotated[str, AfterValidator(_dns_label)]


class Metadata(Strict):
    name: DnsName
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Manifest(Strict):
    """Any object: kind, metadata, and where it belongs."""

    api_version: str
    kind: str
    metadata: Metadata

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    def __str__(self) -> str:
        if self.kind in CLUSTER_WIDE:
            return f"{self.kind} {self.name}"
        return f"{self.kind} {self.namespace}/{self.name}"


class Reference(Strict):
    api_version: str
    kind: str
    name: str
    namespace: str | None = None


class Destination(Strict):
    """A ref, a uri, or a ref with a relative uri. The audience is accepted: a laptop sends no
    tokens."""

    ref: Reference | None = None
    uri: str | None = None
    audience: str | None = None

    @model_validator(mode="after")
    def _one_is_set(self) -> Destination:
        if self.ref is None and self.uri is None:
            raise refuse("needs a ref or a uri")
        if self.ref is None and not re.match(r"https?://", self.uri or ""):
            raise refuse(f"the uri {self.uri!r} must be absolute when there is no ref")
        if self.ref is not None and re.match(r"\w+://", self.uri or ""):
            raise refuse("with a ref the uri must be relative")
        return self


class CloudEventOverrides(Strict):
    extensions: dict[str, str] = {}


AnyObject = dict[str, Any]
NonNegative = Annotated[int, Field(ge=0)]
