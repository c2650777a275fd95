"""The Broker and the Triggers that the conformance suite expects. `python -m
tests.conformance.triggers` prints them as YAML, by the BROKER_URL and SINK_HOST of the suite."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from knative.local.broker import BrokerSpec, Delivery, TriggerSpec

PREFIX = "conformance."  # every event type of the suite begins so


@dataclass(frozen=True)
class Expected:
    """A Trigger for events of type `conformance.<listens>`, which calls `/<name>`."""

    name: str
    listens: str
    retry: int = 0
    policy: str = "exponential"
    delay_s: float = 0.2
    timeout_s: float | None = None
    format: str | None = None
    dead_letter: bool = True
    only_sink: bool = False  # a delivery of the dead letter sink alone
    filter: Mapping[str, str] | None = None
    filters: Sequence[Mapping[str, Any]] | None = None

    @property
    def type(self) -> str:
        return PREFIX + self.listens

    def delivery(self, sink: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if not self.only_sink:
            made = {
                "retry": self.retry,
                "backoffPolicy": self.policy,
                "backoffDelay": f"PT{self.delay_s}S",
            }
            if self.timeout_s is not None:
                made["timeout"] = f"PT{self.timeout_s}S"
            if self.format is not None:
                made["format"] = self.format
        if self.dead_letter:
            made["deadLetterSink"] = {"uri": f"{sink}/dead/{self.name}"}
        return made

    def manifest(self, namespace: str, broker: str, sink: str) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "broker": broker,
            "subscriber": {"uri": f"{sink}/{self.name}"},
            "delivery": self.delivery(sink),
        }
        if self.filters is not None:
            spec["filters"] = [{"exact": {"type": self.type}}, *self.filters]
        else:
            spec["filter"] = {"attributes": {"type": self.type, **(self.filter or {})}}
        return {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Trigger",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }

    def spec(self, namespace: str, broker: str, sink: str) -> TriggerSpec:
        wanted = self.manifest(namespace, broker, sink)["spec"]
        dead_letters = f"{sink}/dead/{self.name}" if self.dead_letter else None
        delivery = Delivery(dead_letter_uri=dead_letters)
        if not self.only_sink:
            delivery = Delivery(
                self.retry,
                "linear" if self.policy == "linear" else "exponential",
                self.delay_s,
                self.timeout_s,
                "json" if self.format == "json" else None,
                dead_letters,
            )
        return TriggerSpec(
            namespace,
            self.name,
            broker,
            wanted.get("filter", {}).get("attributes"),
            wanted.get("filters"),
            f"{sink}/{self.name}",
            delivery,
        )


TRIGGERS = (
    Expected("plain", "plain"),
    Expected("plain-too", "both"),
    Expected("plain-three", "both"),
    Expected("as-json", "as-json", format="json"),
    Expected("exponential", "exponential", retry=3),
    Expected("linear", "linear", retry=3, policy="linear"),
    Expected("only-sink", "only-sink", only_sink=True),
    Expected("timeout", "timeout", timeout_s=0.5, retry=1),
    Expected("lonely", "lonely", dead_letter=False),
    Expected("lonely-peer", "lonely"),
    Expected("once-more", "once-more", retry=1),
    Expected("answer", "answer"),
    Expected("loop", "loop"),
    Expected("attributes", "attributes", filter={"subject": "a", "color": "red"}),
    Expected("attribute-any", "attribute-any", filter={"color": ""}),
    Expected("exact", "exact", filters=[{"exact": {"color": "red", "subject": "a"}}]),
    Expected("exact-nothing", "exact-nothing", filters=[{"exact": {"color": ""}}]),
    Expected("prefix", "prefix", filters=[{"prefix": {"color": "re"}}]),
    Expected("suffix", "suffix", filters=[{"suffix": {"color": "ed"}}]),
    Expected("not", "not", filters=[{"not": {"exact": {"color": "red"}}}]),
    Expected(
        "any", "any", filters=[{"any": [{"exact": {"color": "red"}}, {"exact": {"subject": "a"}}]}]
    ),
    Expected(
        "all", "all", filters=[{"all": [{"exact": {"color": "red"}}, {"prefix": {"subject": "a"}}]}]
    ),
    Expected("cesql", "cesql", filters=[{"cesql": "INT(size) > 3 AND color LIKE 'r%'"}]),
    Expected("cesql-missing", "cesql-missing", filters=[{"cesql": "nosuch != 'x'"}]),
    Expected("time-exact", "time-exact", filters=[{"exact": {"time": "2024-05-01T08:00:00.5Z"}}]),
)
BROKER = BrokerSpec("conformance", "default", Delivery())


def manifests(broker_url: str, sink_host: str) -> list[dict[str, Any]]:
    """The Broker of the URL's last two segments, which keeps nothing back, and its Triggers."""
    namespace, name = broker_url.rstrip("/").split("/")[-2:]
    broker = {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Broker",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"delivery": {"retry": 0}},
    }
    return [broker, *(one.manifest(namespace, name, f"http://{sink_host}") for one in TRIGGERS)]


if __name__ == "__main__":
    missing = {"BROKER_URL", "SINK_HOST"} - set(os.environ)
    if missing:
        raise SystemExit(f"set {' and '.join(sorted(missing))}, as for the suite itself")
    found = manifests(os.environ["BROKER_URL"], os.environ["SINK_HOST"])
    print(yaml.safe_dump_all(found), end="")
