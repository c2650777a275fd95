"""What the local Knative refuses to start with, and in which words."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.support.manifest_files import BROKER, SERVICE, problems, refusals, world, write


def service(template: str, metadata: str = "{name: echo}") -> str:
    return f"""
    apiVersion: serving.knative.dev/v1
    kind: Service
    metadata: {metadata}
    spec:
      template:
{textwrap.indent(textwrap.dedent(template), " " * 8)}
"""


def trigger(spec: str) -> str:
    return f"""
    apiVersion: eventing.knative.dev/v1
    kind: Trigger
    metadata: {{name: t}}
    spec:
      broker: default
      subscriber: {{uri: "http://example.com"}}
{textwrap.indent(textwrap.dedent(spec), " " * 6)}
"""


def ping(spec: str) -> str:
    return f"""
    apiVersion: sources.knative.dev/v1
    kind: PingSource
    metadata: {{name: p}}
    spec:
      sink: {{uri: "http://example.com"}}
{textwrap.indent(textwrap.dedent(spec), " " * 6)}
"""


CONTAINER = "spec: {containers: [{image: a%s}]%s}"

REFUSED = {
    "an unknown kind": (
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}",
        "DaemonSet d: kind: apps/v1 DaemonSet is not supported by the local Knative",
    ),
    "an unknown field": (
        service("spec: {containers: [{image: a, lifecycle: {}}]}"),
        "spec.template.spec.containers.0.lifecycle: is not supported by the local Knative",
    ),
    "a token, which nobody issues here": (
        service(
            "spec: {containers: [{image: a, volumeMounts: [{name: v, mountPath: /v}]}], "
            "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}"
        ),
        "no token is issued on a laptop",
    ),
    "two containers": (
        service("spec: {containers: [{image: a, name: a}, {image: b, name: b}]}"),
        "exactly one container",
    ),
    "a reserved variable": (
        service(CONTAINER % (", env: [{name: PORT, value: '1'}]", "")),
        "the environment variable PORT is reserved by Knative",
    ),
    "a number as a variable's value": (
        service(CONTAINER % (", env: [{name: A, value: 1}]", "")),
        "spec.template.spec.containers.0.env.0.value: input should be a valid string",
    ),
    "a reserved port": (
        service(CONTAINER % (", ports: [{containerPort: 8012}]", "")),
        "port 8012 is reserved",
    ),
    "timeoutSeconds above 600": (
        service(CONTAINER % ("", ", timeoutSeconds: 601")),
        "timeoutSeconds: input should be less than or equal to 600",
    ),
    "a probe's headers": (
        service(CONTAINER % (", readinessProbe: {httpGet: {httpHeaders: []}}", "")),
        "readinessProbe.httpGet.httpHeaders: is not supported",
    ),
    "a probe by https": (
        service(CONTAINER % (", readinessProbe: {httpGet: {scheme: HTTPS}}", "")),
        "readinessProbe.httpGet.scheme: input should be 'HTTP'",
    ),
    "a probe of another port": (
        service(CONTAINER % (", readinessProbe: {httpGet: {port: 9000}}", "")),
        "a probe's port 9000 is not the container's",
    ),
    "containerConcurrency above 1000": (
        service(CONTAINER % ("", ", containerConcurrency: 1001")),
        "containerConcurrency: input should be less than or equal to 1000",
    ),
    "an autoscaling annotation on the Service": (
        service(
            CONTAINER % ("", ""),
            '{name: echo, annotations: {autoscaling.knative.dev/min-scale: "1"}}',
        ),
        "belongs on spec.template.metadata",
    ),
    "min-scale above max-scale": (
        service(
            "metadata:\n  annotations:\n    autoscaling.knative.dev/min-scale: '3'\n"
            "    autoscaling.knative.dev/max-scale: '2'\n" + CONTAINER % ("", "")
        ),
        "min-scale 3 is above max-scale 2",
    ),
    "a hostPath": (
        service(CONTAINER % ("", ", volumes: [{name: v, hostPath: {path: /}}]")),
        "volumes.0.hostPath: is not supported",
    ),
    "a pod's security context": (
        service(CONTAINER % ("", ", securityContext: {runAsNonRoot: true}")),
        "needs the feature podspec-securitycontext",
    ),
    "a missing ConfigMap": (
        service(CONTAINER % (", envFrom: [{configMapRef: {name: nope}}]", "")),
        "there is no ConfigMap dsm/nope",
    ),
    "a timeout of zero": (trigger("delivery: {timeout: PT0S}"), "must be longer than zero"),
    "a duration that is none": (trigger("delivery: {backoffDelay: 2s}"), "'2s' is not an ISO 8601"),
    "retryAfterMax": (trigger("delivery: {retryAfterMax: PT1S}"), "delivery-retryafter"),
    "an unknown dialect": (
        trigger("filters: [{regex: {type: a}}]"),
        "filters[0].regex is an unknown dialect",
    ),
    "two dialects in one filter": (
        trigger("filters: [{exact: {type: a}, prefix: {type: b}}]"),
        "exactly one dialect",
    ),
    "an attribute with a capital": (
        trigger("filter: {attributes: {Type: a}}"),
        "must be lower-case letters and digits",
    ),
    "broken CESQL": (trigger("filters: [{cesql: 'type = = 1'}]"), "not valid CESQL"),
    "@every": (ping("schedule: '@every 5m'"), "the descriptor @every 5m is none of"),
    "seven cron fields": (ping("schedule: '* * * * * * *'"), "found 7"),
    "an unknown time zone": (
        ping("schedule: '* * * * *'\ntimezone: Mars/Olympus"),
        "'Mars/Olympus' is not a time zone",
    ),
    "data and dataBase64": (ping("data: a\ndataBase64: YQ=="), "are exclusive"),
    "data that is not JSON": (
        ping("contentType: application/json\ndata: '{'"),
        "data: is not valid JSON",
    ),
    "a Secret that is not base64": (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '#'}",
        "data.a is not base64",
    ),
    "a StatefulSet that is not PostgreSQL": (
        """
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: redis}
        spec:
          serviceName: redis
          selector: {matchLabels: {app: redis}}
          template:
            metadata: {labels: {app: redis}}
            spec: {containers: [{name: redis, image: "redis:7"}]}
        """,
        "one StatefulSet only: one container, image postgres",
    ),
}


@pytest.mark.parametrize(("document", "expected_text"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_file_and_field(tmp_path: Path, document: str, expected_text: str) -> None:
    found = refusals(tmp_path, BROKER, document)
    assert len(found) == 1
    assert found[0].startswith("objects.yaml:")
    assert expected_text in found[0]


def test_all_problems_are_reported_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
    apiVersion: eventing.knative.dev/v1
    kind: Broker
    metadata: {name: default}
    spec:
      delivery:
        timeout: PT0S
        wrong: 1
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: p}
    """
    write(tmp_path, objects=text)
    assert problems(tmp_path) == [
        "objects.yaml:6: Broker default: spec.delivery.timeout: "
        "must be longer than zero, it is PT0S",
        "objects.yaml:7: Broker default: spec.delivery.wrong: "
        "is not supported by the local Knative",
        "objects.yaml:10: Pod p: kind: v1 Pod is not supported by the local Knative",
    ]


def test_broken_yaml_is_reported_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, objects="a: 1\nb: [1\nc: 2\n")
    assert problems(tmp_path)[0].startswith("objects.yaml:3: broken YAML: ")


def test_a_field_written_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, objects="a: 1\na: 2\n")
    assert problems(tmp_path) == ["objects.yaml:2: broken YAML: the field 'a' is written twice"]


def test_a_trigger_without_its_broker_is_refused(tmp_path: Path) -> None:
    found = refusals(tmp_path, trigger("filter: {attributes: {type: a}}"))
    assert found == ["objects.yaml:6: Trigger t: spec.broker: there is no Broker dsm/default"]


def test_what_is_right_is_accepted(tmp_path: Path) -> None:
    made = world(
        tmp_path,
        BROKER,
        SERVICE,
        trigger("delivery: {retry: 4, backoffPolicy: linear, backoffDelay: PT0.5S}"),
        ping("schedule: '0 30 8 ? * MON-FRI'\ntimezone: America/Chicago"),
    )
    assert [item.kind for item in made.objects] == ["Broker", "Service", "Trigger", "PingSource"]
    assert {item.namespace for item in made.objects} == {"dsm"}
