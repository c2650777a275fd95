"""Delivery, timeouts, schedules and Services: each rule on a bad tree and on a good one."""

from __future__ import annotations

import pytest

from tests.support.lint_tree import (
    BASE,
    BROKER,
    GOOD,
    SERVICES,
    TICK,
    event_type,
    found,
    ping,
    rules,
    service,
    trigger,
)

FULL = "{retry: 4, backoffPolicy: exponential, backoffDelay: PT1S, timeout: PT70S}"
SINK = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: graves}}"
BARE_BROKER = BROKER[: BROKER.index("spec:")]
NO_SINK = BROKER.replace("deadLetterSink", "#")
OUTSIDE = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: out, namespace: shop}
spec: {broker: default, filter: {attributes: {type: order.placed}}, subscriber: {uri: http://a/}}
"""
CHANNEL = """
apiVersion: messaging.knative.dev/v1
kind: Channel
metadata: {name: pipe, namespace: shop}
"""
SUBSCRIPTION = f"""
apiVersion: messaging.knative.dev/v1
kind: Subscription
metadata: {{name: tap, namespace: shop}}
spec:
  channel: {{apiVersion: messaging.knative.dev/v1, kind: Channel, name: pipe}}
  subscriber: {SINK}
  delivery: {{retry: 2, backoffPolicy: exponential, backoffDelay: PT1S, deadLetterSink: {SINK}}}
"""
KAFKA = "{eventing.knative.dev/broker.class: Kafka}"
ON_KAFKA = BROKER.replace("default,", f"default, annotations: {KAFKA},")
OF_CHANNELS = BROKER.replace(
    "spec:\n", "spec:\n  config: {apiVersion: v1, kind: ConfigMap, name: channels}\n"
)
KAFKA_CHANNEL = """
apiVersion: v1
kind: ConfigMap
metadata: {name: channels, namespace: shop}
data: {channel-template-spec: "{apiVersion: messaging.knative.dev/v1beta1, kind: KafkaChannel}"}
"""
DEFAULTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: config-br-defaults, namespace: knative-eventing}
data: {default-br-config: "clusterDefault: {delivery: {deadLetterSink: {uri: http://graves/}}}"}
"""
BEGINS = "timeoutSeconds: 400\n      responseStartTimeoutSeconds: %s"
TO_SHOP = trigger("t", to="shop", filter_="filter: {attributes: {type: a}}")
EXTENSION = "ceOverrides: {extensions: {schedule: %s}}"
DIRECT = "apiVersion: serving.knative.dev/v1, kind: Service, name: billing"
JSON = "contentType: application/json\n  data: "
SELLS = [event_type("order.placed", "shop"), event_type("order.shipped", "shop")]


def delivered(delivery: str) -> list[str]:
    return [*BASE, trigger("t", delivery=delivery)]


SELECTOR = "kubernetes.podspec-nodeselector"
ON_GPU = "nodeSelector: {gpu: a}"


def config(name: str, data: str, namespace: str = "knative-serving") -> str:
    """A ConfigMap of the installation."""
    home = f"{{name: config-{name}, namespace: {namespace}}}"
    return f"\napiVersion: v1\nkind: ConfigMap\nmetadata: {home}\ndata: {{{data}}}\n"


def operator(name: str, data: str) -> str:
    """The same, for the operator to write."""
    head = "\napiVersion: operator.knative.dev/v1beta1\nkind: KnativeServing"
    return f"{head}\nmetadata: {{name: s}}\nspec: {{config: {{{name}: {{{data}}}}}}}\n"


LONG = config("defaults", 'max-revision-timeout-seconds: "900"')


def serving(**parts: str) -> list[str]:
    return [*BASE, service("shop", **parts), trigger("t", to="shop")]


def on_kafka(delivery: str) -> list[str]:
    return [ON_KAFKA, *BASE[1:], trigger("t", delivery=delivery)]


def replying(delivery: str) -> list[str]:
    """A Service whose one event goes to billing."""
    asked = trigger("t", to="shop", filter_="filter: {attributes: {type: a}}", delivery=delivery)
    return [*BASE, service("shop"), SELLS[0], trigger(), asked]


DELIVERY = [
    ("KN501", [NO_SINK, *SERVICES, trigger()], GOOD),
    ("KN501", [BARE_BROKER, *SERVICES, trigger()], GOOD),
    (
        "KN501",
        [NO_SINK, *SERVICES, trigger(delivery=FULL)],
        [NO_SINK, *SERVICES, trigger(delivery=FULL[:-1] + f", deadLetterSink: {SINK}}}")],
    ),
    (
        "KN501",
        [*BASE, CHANNEL, SUBSCRIPTION.replace("deadLetterSink", "other")],
        [*BASE, CHANNEL, SUBSCRIPTION],
    ),
    ("KN502", delivered(f"{{deadLetterSink: {SINK}}}"), delivered(FULL)),
    ("KN502", delivered("{format: json}"), delivered("{retry: 0, timeout: PT70S}")),
    ("KN502", delivered(FULL.replace(", timeout: PT70S", "")), delivered("")),
    ("KN502", [BARE_BROKER, *SERVICES, trigger(delivery="{timeout: PT70S}")], delivered(FULL)),
    ("KN503", delivered(FULL.replace("exponential", "linear")), delivered(FULL)),
    ("KN503", [BROKER.replace("exponential", "linear")], delivered("{backoffPolicy: linear}")),
    ("KN504", delivered(FULL.replace("backoffPolicy: exponential, ", "")), delivered(FULL)),
    ("KN504", delivered(FULL.replace("backoffDelay: PT1S, ", "")), delivered("{retry: 0}")),
    ("KN505", delivered(FULL.replace("4", "10")), delivered(FULL.replace("4", "8"))),
    (  # ten attempts of a minute and 511 s of pauses; Kafka keeps on
        "KN505",
        delivered(FULL.replace("4", "9")),
        [ON_KAFKA, *BASE[1:], trigger("t", delivery=FULL.replace("4", "9"))],
    ),
    ("KN505", delivered(FULL.replace("4", "5000")), delivered(FULL)),
    ("KN506", [BARE_BROKER, *SERVICES, OUTSIDE], [*BASE, OUTSIDE]),
    # A Kafka Broker merges deliveries, and has defaults for what is absent.
    ("KN502", delivered("{retry: 3}"), on_kafka("{retry: 3}")),
    ("KN504", delivered("{retry: 3}"), on_kafka("{retry: 3}")),
    ("KN503", delivered(FULL.replace("exponential", "linear")),
     on_kafka(FULL.replace("exponential", "linear"))),
    ("KN505", delivered(FULL.replace("4", "12")), on_kafka(FULL.replace("4", "12"))),
    ("KN505", delivered(FULL.replace("4", "9")),
     [OF_CHANNELS, KAFKA_CHANNEL, *BASE[1:], trigger("t", delivery=FULL.replace("4", "9"))]),
    ("KN501", [NO_SINK, *SERVICES, trigger()], [NO_SINK, DEFAULTS, *SERVICES, trigger()]),
    ("KN601", [*BASE, service("shop"), *SELLS, trigger()], GOOD),
    (
        "KN601",
        [*BASE, service("shop"), event_type("order.placed", "shop"), trigger()],
        [*BASE, service("shop", pod=BEGINS % 400), *SELLS, trigger()],
    ),
    (
        "KN601",
        [*BASE, service("shop"), *SELLS, trigger()],
        [*BASE, service("shop", labels=""), *SELLS, trigger()],
    ),
    (  # a Kafka Broker answers once it has stored the event
        "KN601",
        [*BASE, service("shop"), *SELLS, trigger()],
        [ON_KAFKA, *BASE[1:], service("shop"), *SELLS, trigger()],
    ),
    (  # one event can be the reply
        "KN601",
        [*BASE, service("shop"), *SELLS, trigger(), TO_SHOP],
        [*BASE, service("shop"), SELLS[0], trigger(), TO_SHOP],
    ),
    ("KN602", delivered(FULL.replace("PT70S", "PT59S")), delivered(FULL.replace("PT70S", "PT1M"))),
    ("KN602", serving(pod="timeoutSeconds: 71"), serving(pod="timeoutSeconds: 70")),
    ("KN602", serving(pod="containerConcurrency: 1"), serving(pod="timeoutSeconds: 70")),
    (
        "KN602",
        [*serving(pod=BEGINS % 71), trigger("t")],
        [*serving(pod=BEGINS % 70), trigger("t")],
    ),
    ("KN603", delivered(FULL.replace("PT70S", "PT1H")), delivered(FULL)),
    ("KN604", serving(pod="timeoutSeconds: 301"), serving(pod="timeoutSeconds: 300")),
    ("KN604", serving(pod="timeoutSeconds: 400"), serving(pod=BEGINS % 400)),
    (  # 5 attempts of 60 s and 15 s of pauses wait behind the reply
        "KN605",
        replying(FULL),
        replying(FULL.replace("PT70S", "PT315S")),
    ),
    (  # two events are published, and with KN601
        "KN605",
        replying(FULL),
        [*replying(FULL), SELLS[1]],
    ),
    ("KN605", replying(FULL), [ON_KAFKA, *replying(FULL)[1:]]),
    ("KN605", replying(FULL), [*BASE, service("shop"), SELLS[0], TO_SHOP]),
    ("KN605", replying(FULL), replying(FULL.replace(", timeout: PT70S", ""))),
    (  # so long a timeout is for the reply
        "KN603",
        [*BASE, service("shop"), trigger("t", to="shop", delivery=FULL.replace("PT70S", "PT8M"))],
        replying(FULL.replace("PT70S", "PT8M")),
    ),
]  # fmt: skip

AUTO = "autoscaling.knative.dev"
MOUNTS = "volumeMounts: [{name: v, mountPath: /v%s}]"
WINDOW = "annotations: {autoscaling.knative.dev/window: '%s'}"
SCALE = f"annotations: {{{AUTO}/min-scale: %s, {AUTO}/max-scale: %s}}"
CALENDARS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: calendars, namespace: default}
data:
  a.yaml: "name: eu\\nversion: '1'"
  b.ics: "BEGIN:VCALENDAR\\r\\nX-WR-CALNAME:de\\r\\nEND:VCALENDAR"
"""
MINUTELY = [
    ping("minutely", schedule="* * * * *", overrides=EXTENSION % "minutely"),
    trigger("minutely", to="ticked", filter_="filter: {attributes: {schedule: minutely}}"),
]

TICKS = [
    ("KN701", [*BASE, ping(overrides="")], GOOD),
    ("KN701", [*BASE, ping(overrides="ceOverrides: {extensions: {}}")],
     [*BASE, ping(overrides="", sink=DIRECT)]),
    ("KN702", [*GOOD, ping("twin")], [*GOOD, ping("two", overrides=EXTENSION % "two")]),
    ("KN703", [*BASE, ping(schedule="@every 1m")], [*BASE, ping(schedule="@daily")]),
    ("KN703", [*BASE, ping(schedule="61 3 * * *")], [*BASE, ping(schedule="0 0 3 * * *")]),
    ("KN703", [*BASE, ping(schedule="CRON_TZ=Mars/Sol 0 9 * * *", zone="")],
     [*BASE, ping(schedule="CRON_TZ=America/New_York 0 9 * * *", zone="")]),
    ("KN703", [*BASE, ping(zone="timezone: Mars/Sol")], [*BASE, ping(zone="timezone: Asia/Tokyo")]),
    ("KN703", [*BASE, ping(data="data: a\n  dataBase64: YQ==")],
     [*BASE, ping(data="dataBase64: YQ==")]),
    ("KN703", [*BASE, ping(data=JSON + "'{'")], [*BASE, ping(data=JSON + "'{}'")]),
    ("KN808", [*GOOD, *MINUTELY, service("ticked")],
     [*GOOD, *MINUTELY, service("ticked", template=WINDOW % "150s")]),
    ("KN808", [*GOOD, *MINUTELY, service("ticked")],
     [*GOOD, ping("slow", schedule="*/5 * * * *"), MINUTELY[1], service("ticked")]),
    ("KN808", [*GOOD, *MINUTELY, service("ticked")],
     [*GOOD, *MINUTELY, service("ticked", template=SCALE % ("'1'", "'2'"))]),
    ("KN706", [*BASE, ping(schedule="0 0 31 2 *")], [*BASE, ping(schedule="0 0 29 2 *")]),
    *(
        ("KN707", [*BASE, ping(policy=f"{{schedules.dsm.io/{bad}}}")],
         [*BASE, ping(policy=f"{{schedules.dsm.io/{good}}}")])
        for bad, good in (
            ("missed: sometimes", "missed: all"), ("missed-window: 3", "missed-window: 3d"),
            ("overlaps: skip", "overlap: skip"), ("pause-after: -1", "pause-after: '2'"),
            ("start: 2026-01-31", "start: '2026-01-31T08:00:00Z'"),
        )
    ),
    ("KN707", [*BASE, CALENDARS, ping(policy="{schedules.dsm.io/calendar: us}")],
     [*BASE, CALENDARS, ping(policy="{schedules.dsm.io/calendar: eu}")]),
    ("KN704", [*BASE, ping(zone="")], [*BASE, ping(zone="", schedule="*/5 * * * *")]),
    ("KN705", [*BASE, ping(overrides="ceOverrides: {extensions: {my-name: a}}")], GOOD),
]  # fmt: skip

PUBLIC = 'publishes: "true"'
VISIBILITY = "networking.knative.dev/visibility: cluster-local"
SERVING = [
    ("KN801", serving(readiness=""), serving()),
    ("KN802", serving(liveness=""), serving()),
    ("KN803", serving(resources="{}"), serving()),
    ("KN803", serving(resources="{requests: {cpu: 1, memory: 1Gi}}"),
     serving(resources="{limits: {cpu: 1, memory: 1Gi}}")),
    ("KN804", serving(labels=PUBLIC), [*BASE, service("web", labels=PUBLIC)]),
    ("KN805", serving(template=f"labels: {{{VISIBILITY}}}"), serving()),
    ("KN806", serving(container="env: [{name: DB_PASSWORD, value: hunter2}]"),
     serving(container="env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: a, key: b}}}]")),
    ("KN806", serving(container="env: [{name: AWS_SECRET_ACCESS_KEY, value: wJalrXUt}]"),
     serving(container="env: [{name: DB_SECRET, value: orders-db}, "
             "{name: MAX_TOKEN, value: '4096'}, {name: TOKEN, value: /var/run/token}]")),
    *(
        ("KN806", serving(container=f"env: [{{name: {name}, value: '{value}'}}]"), serving())
        for name, value in (
            ("DB_PASSWORD", "correct-horse"), ("ADMIN_TOKEN", "12345678"),
            ("SECRET", "/aGVsbG8vd29ybGQ"), ("DEFAULT_TOKEN", "hunter-two"),
        )
    ),
    ("KN806", serving(container="env: [{name: URL, value: 'postgres://me:secret@db/x'}]"),
     serving(container="env: [{name: URL, value: 'postgres://me:$(PASSWORD)@db/x'}]")),
    ("KN807", serving(root="{}"), serving()),
    ("KN807", serving(root="{runAsNonRoot: false}"), serving()),
    ("KN807", serving(root="{}", pod="securityContext: {runAsNonRoot: false}"),
     serving(root="{}", pod="securityContext: {runAsNonRoot: true}")),
    ("KN901", serving(metadata=", " + SCALE % ("'1'", "'2'")),
     serving(template=SCALE % ("'1'", "'2'"))),
    ("KN902", serving(template=SCALE % ("'3'", "'2'")), serving(template=SCALE % ("'3'", "'0'"))),
    ("KN902", serving(template=SCALE % ("1", "'2'")), serving(template=SCALE % ("'2'", "'2'"))),
    (  # a sidecar may be given a port
        "KN903",
        serving(container="env: [{name: PORT, value: '1'}]"),
        serving(
            container="ports: [{containerPort: 8080}]\n"
            "      - {image: b, env: [{name: PORT, value: '1'}]}"
        ),
    ),
    ("KN903", serving(container="env: [{name: PORT, value: '1'}]"),
     serving(container="env: [{name: PORTS, value: '1'}]")),
    ("KN904", serving(container="ports: [{containerPort: 8012}]"),
     serving(container="ports: [{containerPort: 8080}]")),
    ("KN904", serving(container="ports: [{containerPort: 9091}]"),
     serving(container="ports: [{containerPort: 8112}]")),
    ("KN904", serving(container="ports: [{containerPort: 80}, {containerPort: 81}]"), serving()),
    ("KN905", serving(pod="timeoutSeconds: 601"), serving(pod="timeoutSeconds: 600")),
    ("KN905", serving(pod="containerConcurrency: 1001"), serving(pod="containerConcurrency: 0")),
    ("KN905", serving(pod="timeoutSeconds: 601"),
     serving(pod="responseStartTimeoutSeconds: 301\n      idleTimeoutSeconds: 301")),
    ("KN908", delivered(FULL.replace("retry", "retries")), delivered(FULL)),
    ("KN906", delivered(FULL.replace("PT70S", "70s")), delivered(FULL)),
    ("KN906", delivered(FULL.replace("PT70S", "PT0S")), delivered(FULL.replace("PT1S", "PT0S"))),
    ("KN906", delivered(FULL.replace("exponential", "sudden")), delivered(FULL)),
    ("KN906", delivered(FULL.replace("retry: 4", "retry: -1")), delivered(FULL)),
    ("KN906", delivered("{retryAfterMax: PT1M}"), delivered(FULL)),
    ("KN906", delivered("{retryAfterMax: PT1M}"),
     [*delivered("{retryAfterMax: PT1M}"),
      config("features", "delivery-retryafter: enabled", "knative-eventing")]),
    ("KN905", [*serving(pod="timeoutSeconds: 901"), LONG], [*serving(pod="timeoutSeconds: 900"),
                                                           LONG]),
    ("KN907", [*serving(pod=ON_GPU), config("features", f"{SELECTOR}: enabled", "shop")],
     [*serving(pod=ON_GPU), config("features", f"{SELECTOR}: enabled")]),
    ("KN907", [*serving(pod=ON_GPU),
               config("features", f"{SELECTOR}: enabled", "knative-eventing")],
     [*serving(pod=ON_GPU), config("features", f"{SELECTOR}: enabled")]),
    ("KN907", [*serving(pod=ON_GPU), config("features", f"{SELECTOR}: disabled")],
     [*serving(pod=ON_GPU), config("features", f"{SELECTOR}: allowed")]),
    ("KN907", [*serving(pod=ON_GPU), operator("features", "multi-container: enabled")],
     [*serving(pod=ON_GPU), operator("features", f"{SELECTOR}: Enabled")]),
    ("KN907", [*serving(pod=ON_GPU), operator("defaults", f"{SELECTOR}: enabled")],
     [*serving(pod=ON_GPU), operator("config-features", f"{SELECTOR}: enabled")]),
    ("KN907", serving(pod="nodeSelector: {disk: fast}"), serving(pod="nodeSelector: {}")),
    ("KN907", serving(pod="securityContext: {runAsNonRoot: true}"), serving()),
    ("KN907", serving(pod="initContainers: [{image: first}]"), serving(pod="initContainers: []")),
    ("KN907", serving(pod="hostNetwork: true"), serving(pod="hostNetwork: false")),
    ("KN907", serving(pod="volumes: [{name: v, hostPath: {path: /var}}]"),
     serving(pod="volumes: [{name: v, emptyDir: {}}]")),
    ("KN907", serving(pod="volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]"),
     serving(pod="volumes: [{name: v, projected: {sources: [{secret: {name: s}}]}}]")),
    ("KN907",
     serving(container="env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]"),
     serving(container="env: [{name: IP, valueFrom: {configMapKeyRef: {name: c, key: k}}}]")),
    ("KN907", serving(root="{runAsNonRoot: true, capabilities: {add: [NET_BIND_SERVICE]}}"),
     serving(root="{runAsNonRoot: true, capabilities: {add: [], drop: [ALL]}}")),
    ("KN907", serving(pod="affinity: {}"), serving(pod="nodeSelector: {}")),
    ("KN908", serving(pod="restartPolicy: Always"), serving(pod="enableServiceLinks: false")),
    ("KN908", serving(pod="timeoutSecond: 60"), serving(pod="timeoutSeconds: 60")),
    ("KN908", serving(container="lifecycle: {preStop: {exec: {command: [sleep]}}}"),
     serving(container="startupProbe: {httpGet: {path: /health}}")),
    ("KN908", serving(pod="volumes: [{name: v, nfs: {server: s, path: /}}]"),
     serving(pod="volumes: [{name: v, secret: {secretName: s}}]")),
    ("KN909", [BROKER.replace(" kind: Service,", "")], [BROKER]),
    ("KN909", delivered(FULL[:-1] + ", deadLetterSink: {ref: {name: graves}}}"), delivered(FULL)),
    ("KN909", delivered(FULL[:-1] + ", deadLetterSink: {}}"), delivered(FULL)),
    ("KN909", serving(root="{privileged: true}"), serving(root="{runAsNonRoot: true}")),
    ("KN909", serving(container=MOUNTS % ", mountPropagation: None"),
     serving(container=MOUNTS % ", readOnly: true")),
    ("KN908", serving(container="command: run"), serving(container="command: [run]")),
    ("KN909", serving(pod="volumes: [{name: v, emptyDir: {}}]"),
     serving(pod="volumes: [{name: v, emptyDir: {}}]", container=MOUNTS % "")),
    ("KN909", serving(template=WINDOW % "5s"), serving(template=WINDOW % "1m30s")),
    ("KN909", serving(template=WINDOW % "2h"), serving(template=WINDOW % "1h")),
]  # fmt: skip
CASES = [*DELIVERY, *TICKS, *SERVING]


@pytest.mark.parametrize(("rule", "bad", "good"), CASES, ids=[case[0] for case in CASES])
def test_a_running_rule_tells_bad_from_good(rule: str, bad: list[str], good: list[str]) -> None:
    assert rule in rules(*bad)
    assert rule not in rules(*good)


def test_what_a_trigger_loses_is_reported_in_full() -> None:
    (one,) = found(*GOOD, service("shop"), trigger("t", to="shop", delivery="{format: json}"))
    assert one.rule == "KN502"
    assert one.message == "loses Broker default's retry: 4, timeout: 70 s"


def test_the_time_that_publishing_takes_counts_attempts_and_pauses() -> None:
    messages = [one.message for one in found(*BASE, service("shop"), *SELLS, trigger(), TICK)]
    # Five attempts of at most 60 s, which is all that the Service has, and 1 + 2 + 4 + 8 s.
    assert any("order.placed can take 315 s" in message for message in messages)
