"""A small tree in which the linter finds nothing, and parts to spoil it with."""

from __future__ import annotations

import textwrap
from pathlib import Path

from knative.lint.finding import Finding
from knative.lint.linting import lint
from knative.lint.reading import read, read_text

BROKER = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: shop}
spec:
  delivery:
    retry: 4
    backoffPolicy: exponential
    backoffDelay: PT1S
    timeout: PT70S
    deadLetterSink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: graves}}
"""
BINDING = """
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: publishers, namespace: shop}
spec:
  subject:
    apiVersion: serving.knative.dev/v1
    kind: Service
    selector: {matchLabels: {publishes: "true"}}
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
"""


def service(
    name: str,
    *,
    metadata: str = "",
    labels: str = 'networking.knative.dev/visibility: cluster-local, publishes: "true"',
    template: str = "",
    pod: str = "timeoutSeconds: 60",
    readiness: str = "readinessProbe: {httpGet: {path: /health}}",
    liveness: str = "livenessProbe: {httpGet: {path: /health}}",
    resources: str = "{requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 128Mi}}",
    root: str = "{runAsNonRoot: true}",
    container: str = "",
) -> str:
    """A Knative Service; each part is YAML in flow style."""
    inner = "\n        ".join(part for part in (readiness, liveness, container) if part)
    return f"""
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}{metadata}}}
spec:
  template:
    metadata: {{{template}}}
    spec:
      {pod}
      containers:
      - image: {name}
        securityContext: {root}
        resources: {resources}
        {inner}
"""


def trigger(
    name: str = "order",
    *,
    filter_: str = "filter: {attributes: {type: order.placed}}",
    to: str = "billing",
    delivery: str = "",
    broker: str = "default",
) -> str:
    return f"""
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, namespace: shop}}
spec:
  broker: {broker}
  {filter_}
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: {to}}}}}
  {"delivery: " + delivery if delivery else ""}
"""


def event_type(type_: str, producer: str = "", more: str = "") -> str:
    labels = f"labels: {{app.kubernetes.io/name: {producer}}}" if producer else ""
    return f"""
apiVersion: eventing.knative.dev/v1beta2
kind: EventType
metadata:
  name: {type_}
  namespace: shop
  {labels}
spec:
  type: {type_}
  reference: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
  {more}
"""


def ping(
    name: str = "nightly",
    *,
    schedule: str = "0 3 * * *",
    zone: str = "timezone: Etc/UTC",
    overrides: str = "ceOverrides: {extensions: {schedule: nightly}}",
    data: str = "",
    sink: str = "apiVersion: eventing.knative.dev/v1, kind: Broker, name: default",
    policy: str = "{}",
) -> str:
    return f"""
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {{name: {name}, namespace: shop, annotations: {policy}}}
spec:
  schedule: "{schedule}"
  {zone}
  {overrides}
  {data}
  sink: {{ref: {{{sink}}}}}
"""


TICK = trigger(
    "tick", filter_="filter: {attributes: {type: dev.knative.sources.ping, schedule: nightly}}"
)
SERVICES = [service("billing"), service("graves")]
BASE = [BROKER, BINDING, *SERVICES]
GOOD = [*BASE, trigger(), event_type("order.placed"), ping(), TICK]


def found(*documents: str) -> list[Finding]:
    """What the linter finds in these documents, as on standard input."""
    return lint([read_text("---".join(textwrap.dedent(one) for one in documents))])


def rules(*documents: str) -> set[str]:
    return {finding.rule for finding in found(*documents)}


def found_in(folder: Path) -> list[Finding]:
    return lint(read(folder))
