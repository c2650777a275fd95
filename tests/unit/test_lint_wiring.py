"""References, events and loops: each rule reports a bad tree and passes a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.lint.linting import lint
from knative.lint.reading import read
from tests.support.lint_tree import (
    BASE,
    BINDING,
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

V1BETA3 = """
apiVersion: eventing.knative.dev/v1beta3
kind: EventType
metadata: {{name: {type}, namespace: shop}}
spec:
  reference: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
  attributes:
  - {{name: type, required: true, value: {type}}}
  - {{name: region, required: false}}
"""
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: clockmaker, namespace: shop}
rules:
- {apiGroups: [sources.knative.dev], resources: [pingsources], verbs: [create]}
"""
FORWARD = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: to-{to}, namespace: shop}}
spec:
  broker: {of}
  subscriber: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: {to}}}}}
"""
OTHER_BROKER = BROKER.replace("name: default", "name: other")
BINDING_OF_JOBS = """
apiVersion: sources.knative.dev/v1
kind: SinkBinding
metadata: {name: beats, namespace: shop}
spec:
  subject: {apiVersion: batch/v1, kind: Job, selector: {matchLabels: {app: beat}}}
  sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}
"""
BEATS = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: beat, namespace: shop}
spec: {jobTemplate: {metadata: {labels: {app: beat}}}}
"""
SINK = "{ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: %s}}"
SHIPPED = [event_type("order.placed", "billing"), event_type("order.shipped", "shipping")]
SHIPPING = service("shipping")
NO_TICK = "filter: {attributes: {type: dev.knative.sources.ping, schedule: never}}"
NO_TICK_TEXT = """filters: [{cesql: "schedule='x' AND type='dev.knative.sources.ping'"}]"""
SHIPPED_ONLY = "filter: {attributes: {type: order.shipped}}"
PUSHED = "filter: {attributes: {type: com.github.push}}"
GITHUB = [
    service("receiver", container="env: [{name: FUNCTION_TARGET, value: webhook_receiver}, "
            "{name: GITHUB_EVENT_TYPES, value: 'com.github.star.*, com.github.fork'}]"),
    service("launcher", container="env: [{name: FUNCTION_TARGET, value: job_launcher}]"),
]  # fmt: skip
TO_GRAVES = f"{{deadLetterSink: {SINK % 'graves'}}}"


def old_type(broker: str) -> str:
    """An EventType from before v1beta2."""
    body = event_type("e").replace("v1beta2", "v1beta1")
    return body.replace("reference:", f"broker: {broker} #")


def test_nothing_is_found_in_a_good_tree() -> None:
    assert found(*GOOD) == []


CASES = [
    ("KN101", [*GOOD, trigger("lost", broker="nosuch")], GOOD),
    ("KN102", [*GOOD, trigger("lost", to="nosuch")], GOOD),
    (
        "KN103",
        [*GOOD, ping("lost", sink="apiVersion: serving.knative.dev/v1, kind: Service, name: no")],
        [*GOOD, ping("direct", sink="apiVersion: v1, kind: Service, name: billing")],
    ),
    ("KN103", [*GOOD, ping("lost").replace("name: default", "name: no")], GOOD),
    (
        "KN104",
        [*GOOD, trigger("lost", delivery=f"{{deadLetterSink: {SINK % 'nosuch'}}}")],
        [*GOOD, trigger("kept", delivery=TO_GRAVES)],
    ),
    ("KN105", [*GOOD, BINDING.replace('"true"', '"no"')], GOOD),
    (
        "KN105",
        [*GOOD, BINDING.replace("serving", "eventing").replace("kind: Service", "kind: Broker")],
        GOOD,
    ),
    (  # Jobs are made by a CronJob of this tree, with its template's labels
        "KN105",
        [*GOOD, BEATS.replace("app: beat", "app: bear"), BINDING_OF_JOBS],
        [*GOOD, BEATS, BINDING_OF_JOBS],
    ),
    ("KN106", [*BASE, ping().replace("ref: {", "uri: /there, other: {")], GOOD),
    ("KN106", [*BASE, ping().replace("ref: {", "other: {")], GOOD),
    (
        "KN106",
        [*BASE, ping().replace("sink: {", "sink: {uri: 'http://a/b', ")],
        [*GOOD, ping("p").replace("sink: {", "sink: {uri: /b, ")],
    ),
    ("KN106", [*GOOD, trigger("t").replace("subscriber:", "subscribr:")], GOOD),
    ("KN106", [*GOOD, ping("p").replace("sink:", "snik:")], GOOD),
    ("KN107", [*GOOD, trigger("again")], [*GOOD, trigger("again", to="graves")]),
    ("KN107", [*GOOD, trigger("again")], [*GOOD, trigger()]),
    ("KN109", [*GOOD, trigger()], GOOD),
    (
        "KN107",
        [*GOOD, trigger("again")],
        [*GOOD, trigger().replace("broker: default", "brokerRef: {name: default, namespace: shop}")
         .replace("namespace: shop}\nspec", "namespace: far}\nspec")],
    ),
    *(
        ("KN204", [*BASE, *GITHUB, trigger("t", filter_=wanted)],
         [*BASE, *GITHUB, trigger("t", filter_=wanted, to="launcher")])
        for wanted in (
            PUSHED,
            "filters: [{any: [{exact: {type: order.placed}}, {prefix: {type: com.github.}}]}]",
        )
    ),
    *(
        ("KN204", [*BASE, *GITHUB, trigger("t", filter_=PUSHED)],
         [*BASE, *GITHUB, trigger("t", filter_=fine)])
        for fine in (
            "filter: {attributes: {type: com.github.star.created}}",
            "filter: {attributes: {type: com.github.fork}}",
            "filters: [{not: {exact: {type: com.github.push}}}]",
        )
    ),
    ("KN201", [*GOOD, event_type("order.lost")], GOOD),
    (
        "KN201",
        [*GOOD, ping("other", overrides="ceOverrides: {extensions: {schedule: other}}")],
        GOOD,
    ),
    ("KN202", [*GOOD, trigger("typo", filter_="filter: {attributes: {type: order.place}}")], GOOD),
    (
        "KN202",
        [*GOOD, trigger("typo", filter_="filters: [{prefix: {type: odrer.}}]")],
        [*GOOD, trigger("all", filter_="filters: [{prefix: {type: order.}}]", to="graves")],
    ),
    # Without EventTypes the tree does not say what arrives, so no type is missing ...
    (
        "KN202",
        [*BASE, trigger(filter_=NO_TICK_TEXT)],
        [*BASE, trigger()],
    ),
    # ... but ticks come from PingSources only, unless a program makes them at run time.
    (
        "KN202",
        [*BASE, trigger(filter_=NO_TICK)],
        [*BASE, ROLE, trigger(filter_=NO_TICK)],
    ),
    ("KN203", [*GOOD, event_type("order.lost").replace("name: default", "name: nosuch")], GOOD),
    (
        "KN203",
        [*GOOD, old_type("nosuch")],
        [*GOOD, old_type("default")],
    ),
    (
        "KN301",
        [*BASE, event_type("order.placed", "billing"), trigger()],
        [*BASE, event_type("order.placed", "graves"), trigger()],
    ),
    (
        "KN301",
        [*BASE, event_type("x", "", "source: /functions/billing"), trigger(filter_="")],
        GOOD,
    ),
    (
        "KN302",
        [*BASE, SHIPPING, *SHIPPED, trigger(to="shipping"),
         trigger("back", filter_=SHIPPED_ONLY)],
        [*BASE, SHIPPING, *SHIPPED, trigger(to="shipping"),
         trigger("on", filter_=SHIPPED_ONLY, to="graves")],
    ),
    (
        "KN303",
        [*BASE, FORWARD.format(of="default", to="default")],
        [*BASE, OTHER_BROKER, FORWARD.format(of="default", to="other")],
    ),
    (
        "KN303",
        [*BASE, OTHER_BROKER, FORWARD.format(of="default", to="other"),
         FORWARD.format(of="other", to="default")],
        [*BASE, OTHER_BROKER, FORWARD.format(of="other", to="default")],
    ),
    ("KN304", [*GOOD, trigger("t", to="graves", delivery=TO_GRAVES)], GOOD),
    ("KN304", [*GOOD, trigger("t", to="graves")], [*GOOD, trigger("t")]),
    (  # another sink than the Broker's
        "KN304",
        [*GOOD, trigger("t", to="graves", delivery="{format: json}")],
        [*GOOD, trigger("t", to="graves", delivery=TO_GRAVES.replace("graves", "billing"))],
    ),
    (
        "KN304",
        [BROKER.replace("serving.", "eventing.")
         .replace("Service, name: graves", "Broker, name: default"), *SERVICES],
        BASE,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "bad", "good"), CASES, ids=[case[0] for case in CASES])
def test_a_wiring_rule_tells_bad_from_good(rule: str, bad: list[str], good: list[str]) -> None:
    assert rule in rules(*bad)
    assert rule not in rules(*good)


def test_a_broker_that_sugar_injects_exists() -> None:
    namespace = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {eventing.knative.dev/injection: enabled}}
"""
    assert "KN108" in rules(*SERVICES, trigger())
    assert "KN108" not in rules(namespace, *SERVICES, trigger())


@pytest.mark.parametrize(
    "documents",
    [
        [*SERVICES, trigger()],
        [BROKER, SERVICES[0], trigger(delivery=f"{{deadLetterSink: {SINK % 'dls'}}}")
         .replace("name: dls", "name: dls, namespace: infra"), SERVICES[1]],
        [BROKER.replace("name: graves", "name: graves, namespace: infra"), trigger()],
    ],
    ids=["another repository's Broker", "another namespace's sink", "another tree's Services"],
)  # fmt: skip
def test_what_may_be_of_another_owner_is_a_note(documents: list[str]) -> None:
    assert {one.rule for one in found(*documents) if one.rule < "KN2"} == {"KN108"}


def test_trees_of_one_run_know_one_another(tmp_path: Path) -> None:
    (tmp_path / "eventing.yaml").write_text("---".join([BROKER, trigger(), trigger("t", to="far")]))
    (tmp_path / "serving.yaml").write_text("---".join(SERVICES))
    together = [one for name in ("eventing", "serving") for one in read(tmp_path / f"{name}.yaml")]
    assert {one.message for one in lint(together)} == {"Service shop/far was not read"}
    assert "KN102" in {one.rule for one in lint(read(tmp_path))}


@pytest.mark.parametrize(
    ("of", "version", "judged"), [("reference", "v1beta3", True), ("other", "v1beta3", False)]
)
def test_a_type_without_a_reference_is_of_no_broker(of: str, version: str, judged: bool) -> None:
    unconsumed = event_type("order.lost").replace("reference", of).replace("v1beta2", version)
    assert ("KN201" in rules(*GOOD, unconsumed)) is judged


def test_a_label_that_two_services_share_makes_neither_the_producer() -> None:
    shared = [service(n, labels="app.kubernetes.io/name: chart") for n in ("api", "worker")]
    made, taken = event_type("order.placed", "chart"), trigger(to="worker")
    assert "KN301" not in rules(*BASE, *shared, made, taken)
    assert "KN301" in rules(*BASE, shared[1], made, taken)


def test_a_ping_by_the_ingress_address_is_of_that_broker() -> None:
    address = "http://broker-ingress.knative-eventing.svc.cluster.local/shop/default"
    by_address = ping().replace("sink: {ref: {", f"sink: {{uri: '{address}', other: {{")
    assert "KN202" in rules(*BASE, TICK)
    assert "KN202" not in rules(*BASE, TICK, by_address)
    assert "KN303" in rules(*BASE, trigger("t").replace("ref: {", f"uri: '{address}', other: {{"))


def test_a_record_of_kafka_may_be_any_event() -> None:
    source = ping("records").replace("PingSource", "KafkaSource")
    assert "KN202" not in rules(
        *GOOD, source, trigger("t", filter_="filters: [{exact: {type: x}}]")
    )


def test_many_brokers_that_feed_one_another_come_to_an_end() -> None:
    names = [f"b{number}" for number in range(9)]
    brokers = [BROKER.replace("name: default", f"name: {name}") for name in names]
    hops = [
        FORWARD.format(of=of, to=to).replace(f"name: to-{to}", f"name: {of}-{to}")
        for of in names
        for to in names
        if of != to
    ]
    before = FORWARD.format(of="default", to="b0")
    assert "KN303" in rules(*BASE, *brokers, *hops, before)


def test_brokers_that_forward_different_events_are_no_loop() -> None:
    there = FORWARD.format(of="default", to="other") + "  filter: {attributes: {type: %s}}\n"
    back = FORWARD.format(of="other", to="default") + "  filter: {attributes: {type: b}}\n"
    assert "KN303" not in rules(*BASE, OTHER_BROKER, there % "a", back)
    assert "KN303" in rules(*BASE, OTHER_BROKER, there % "b", back)


def test_a_source_of_an_unknown_kind_may_send_anything() -> None:
    source = """
apiVersion: example.com/v1
kind: MoonSource
metadata: {name: moon, namespace: shop}
spec: {sink: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}}}
"""
    moon = trigger("moon", filter_="filter: {attributes: {type: moon.rose}}")
    assert "KN202" in rules(*GOOD, moon)
    assert "KN202" not in rules(*GOOD, moon, source)


def test_what_another_broker_forwards_may_be_anything() -> None:
    moon = trigger("moon", filter_="filter: {attributes: {type: moon.rose}}")
    forward = FORWARD.format(of="other", to="default")
    assert "KN202" not in rules(*GOOD, moon, OTHER_BROKER, forward)


def test_a_subscriber_of_an_unknown_kind_is_left_alone() -> None:
    strange = trigger("strange").replace("serving.knative.dev/v1", "example.com/v1")
    assert rules(*GOOD, strange.replace("kind: Service", "kind: Robot")) == set()


def test_an_attribute_that_no_v1beta3_type_lists_is_reported() -> None:
    here = trigger(filter_="filters: [{exact: {type: order.placed}}, {exact: {region: eu}}]")
    typo = here.replace("region", "regoin")
    known = [*BASE, V1BETA3.format(type="order.placed")]
    assert "KN405" not in rules(*known, here)
    assert "KN405" in rules(*known, typo)


def test_a_v1beta2_type_says_nothing_about_extensions() -> None:
    typo = trigger("t", filter_="filters: [{exact: {type: order.placed}}, {exact: {regoin: eu}}]")
    assert "KN405" not in rules(*GOOD, typo)
