"""The annotations of Knative's autoscaler: which values its webhook takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PREFIX = "autoscaling.knative.dev/"
STABLE_WINDOW_S = 60  # config-autoscaler's default

_KPA, _HPA = f"kpa.{PREFIX.strip('/')}", f"hpa.{PREFIX.strip('/')}"
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST_WINDOW_S = 3600
# The range of each number; scale bounds are elsewhere.
_NUMBERS: dict[str, tuple[float, float]] = {
    "target": (0.01, float("inf")),
    "target-utilization-percentage": (1, 100),
    "target-burst-capacity": (-1, float("inf")),
    "panic-window-percentage": (1, 100),
    "panic-threshold-percentage": (110, 1000),
}
_WHOLE: dict[str, int] = {"initial-scale": 1, "activation-scale": 2}
_DURATIONS: dict[str, int] = {
    "window": 6, "scale-down-delay": 0, "scale-to-zero-pod-retention-period": 0
}  # fmt: skip


def setting(annotations: Mapping[Any, Any], name: str) -> Any:
    """An annotation by its name without the prefix, in either spelling (min-scale, minScale)."""
    camel = re.sub(r"-(\w)", lambda match: match[1].upper(), name)
    return annotations.get(PREFIX + name, annotations.get(PREFIX + camel))


def window_s(annotations: Mapping[Any, Any]) -> float:
    """How long the autoscaler looks back, in seconds: so long an idle pod is kept at least."""
    try:
        return go_duration_s(str(setting(annotations, "window")))
    except ValueError:
        return STABLE_WINDOW_S


def go_duration_s(text: str) -> float:
    """The seconds of a Go duration such as 1m30s; ValueError for anything else."""
    body = text.lstrip("+-")
    if body != "0" and not re.fullmatch(f"(?:{_PART.pattern})+", body):
        raise ValueError(f"{text!r} is not a duration such as 90s or 2m")
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(body))
    return -total_s if text.startswith("-") else total_s


def faults(annotations: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Name and fault of each annotation that the webhook refuses, the scale bounds aside."""
    for name, (low, high) in _NUMBERS.items():
        yield from _number(annotations, name, low, high)
    for name, minimum in _WHOLE.items():
        value = setting(annotations, name)
        if value is not None and not (
            re.fullmatch(r"\+?\d+", str(value)) and int(value) >= minimum
        ):
            yield name, f"{value!r} is no whole number from {minimum}"
    for name, minimum in _DURATIONS.items():
        value = setting(annotations, name)
        if value is not None:
            yield from _duration(name, str(value), minimum)
    class_, metric = setting(annotations, "class") or _KPA, setting(annotations, "metric")
    if str(class_).endswith(PREFIX.strip("/")) and class_ not in (_KPA, _HPA):
        yield "class", f"{class_!r} is neither {_KPA} nor {_HPA}"
    if class_ == _KPA and metric not in (None, "concurrency", "rps"):
        yield "metric", f"{metric!r} is neither concurrency nor rps"


def _number(
    annotations: Mapping[Any, Any], name: str, low: float, high: float
) -> Iterator[tuple[str, str]]:
    value = setting(annotations, name)
    if value is None:
        return
    try:
        fits = low <= float(value) <= high
    except (TypeError, ValueError):
        fits = False
    if not fits:
        yield (
            name,
            f"{value!r} is no number {'from' if high == float('inf') else 'within'} "
            + (f"{low:g}" if high == float("inf") else f"{low:g} to {high:g}"),
        )


def _duration(name: str, value: str, minimum_s: int) -> Iterator[tuple[str, str]]:
    try:
        length_s = go_duration_s(value)
    except ValueError as error:
        yield name, str(error)
        return
    if not minimum_s <= length_s <= _LONGEST_WINDOW_S or length_s % 1:
        yield name, f"{value!r} is not within {minimum_s}s to 1h, in whole seconds"
