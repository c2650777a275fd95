"""With the component `oidc` each producer may send what its code emits, and nothing else; and each
Service answers those who have to call it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from functions.kit.clients.token_keys import IssuerSettings
from functions.kit.contract.callers import Caller, CallerSettings
from functions.kit.settings import HttpSettings
from tests.contract import callers, overlays, policies
from tests.contract.overlays import with_components
from tests.support.repository import (
    Manifest,
    all_folders,
    container,
    environment,
    function_folders,
    spec,
)

PARTS = ("dsm", "event-recorder", "sample", "networkpolicy", "kafka", "kafka-worker")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    return with_components(tmp_path_factory.mktemp("oidc"), *PARTS, "oidc")


def test_the_policies_are_those_of_the_code() -> None:
    for made in (policies, callers):
        assert made.PATH.read_text() == made.text(), "run python -m tests.contract.tables --write"


def test_each_function_that_emits_has_an_identity_and_its_types() -> None:
    for folder in function_folders():
        kinds = [kind for kind in spec(folder).emits if kind.type != "dev.knative.sources.ping"]
        if kinds:
            assert set(kinds) <= set(policies.producers()[folder.replace("_", "-")])


def test_a_service_is_bound_once(objects: tuple[Manifest, ...]) -> None:
    bound = [
        m["spec"]["subject"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for m in objects
        if m["kind"] == "SinkBinding"
    ]
    assert len(bound) == len(set(bound)) == len(policies.producers())


def test_only_the_dead_letters_may_send_anything(objects: tuple[Manifest, ...]) -> None:
    free = [
        m["metadata"]["name"]
        for m in objects
        if m["kind"] == "EventPolicy" and not m["spec"].get("filters")
    ]
    assert free == ["producer-dead-letter"]


def of(objects: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    groups = ("serving.knative.dev/", "eventing.knative.dev/", "networking.k8s.io/")
    return {
        m["metadata"]["name"]: m
        for m in objects
        if m["kind"] == kind and m["apiVersion"].startswith(groups)
    }


def settings_of(service: Manifest) -> CallerSettings:
    return CallerSettings.read(environment(service))


def identity_of(service: Manifest) -> Caller:
    return Caller(callers.subject(service["spec"]["template"]["spec"]["serviceAccountName"]))


def selects(policy: Manifest, labels: dict[str, str]) -> bool:
    """Does a network policy say where a pod may go?"""
    selector = policy["spec"]["podSelector"]
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for one in selector.get("matchExpressions", []):
        held = labels.get(one["key"])
        wanted &= held in one["values"] if one["operator"] == "In" else held is not None
    return bool(wanted) and "Egress" in policy["spec"]["policyTypes"]


def projected(pod: Manifest) -> list[dict[str, Any]]:
    (volume,) = [v for v in pod["volumes"] if v["name"] == "identity"]
    tokens = [s["serviceAccountToken"] for s in volume["projected"]["sources"][2:]]
    return list(tokens)


@pytest.mark.parametrize("parts", [PARTS, (), ("rabbitmq",)], ids="-".join)
def test_a_policy_names_nothing_that_an_overlay_may_not_have(
    parts: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = with_components(tmp_path_factory.mktemp("policies"), *parts, "oidc")
    there = {(m["kind"], m["metadata"]["name"]) for m in found}
    for policy in (m for m in found if m["kind"] == "EventPolicy"):
        refs = [one["ref"] for one in policy["spec"]["from"] if "ref" in one]
        assert {(ref["kind"], ref["name"]) for ref in refs} <= there, policy["metadata"]["name"]


def test_every_service_asks_its_callers_for_a_token(objects: tuple[Manifest, ...]) -> None:
    services = of(objects, "Service")
    assert {callers.subject("x")} == {"system:serviceaccount:dsm:x"}
    for name, service in services.items():
        settings = settings_of(service)
        asked = "" if name == callers.CONSOLE else callers.audience(name)
        assert settings.oidc_audience == asked, name
        issuer = IssuerSettings.read(environment(service))
        mounts = {mount["name"]: mount for mount in container(service)["volumeMounts"]}
        for file in (issuer.oidc_issuer_token_file, issuer.oidc_issuer_ca_file):
            assert file.startswith(mounts["identity"]["mountPath"] + "/issuer/"), name


def test_a_trigger_names_the_audience_of_its_subscriber_and_may_send(
    objects: tuple[Manifest, ...],
) -> None:
    services = of(objects, "Service")
    for name, trigger in of(objects, "Trigger").items():
        subscriber = trigger["spec"]["subscriber"]
        if subscriber["ref"]["kind"] == "KafkaSink":  # it has an audience of its own
            assert "audience" not in subscriber
            continue
        settings = settings_of(services[subscriber["ref"]["name"]])
        assert subscriber["audience"] == settings.oidc_audience, name
        account = callers.identity("Trigger", "eventing.knative.dev", name)
        sender = Caller(callers.subject(account))
        assert sender.is_among(settings.oidc_senders), name
        assert not sender.is_among(settings.oidc_callers), name


def test_records_of_kafka_come_with_a_token(objects: tuple[Manifest, ...]) -> None:
    services = of(objects, "Service")
    sources = [m for m in objects if m["kind"] == "KafkaSource"]
    assert sources
    for source in sources:
        account = callers.identity("KafkaSource", "sources.knative.dev", source["metadata"]["name"])
        spec = source["spec"]
        for sink in (spec["sink"], spec["delivery"]["deadLetterSink"]):
            settings = settings_of(services[sink["ref"]["name"]])
            assert sink["audience"] == settings.oidc_audience
            assert Caller(callers.subject(account)).is_among(settings.oidc_senders)


def test_dead_letters_come_with_a_token(objects: tuple[Manifest, ...]) -> None:
    settings = settings_of(of(objects, "Service")["dead-letter"])
    for kind in ("Broker", "Trigger"):
        for name, one in of(objects, kind).items():
            if sink := one["spec"].get("delivery", {}).get("deadLetterSink"):
                assert sink["audience"] == settings.oidc_audience, name
    # A channel's Subscription: `<broker>-<trigger>-<uid>`, cut, and its digest.
    subscription = callers.identity("Subscription", "messaging.knative.dev", f"default-{'x' * 60}")
    assert Caller(callers.subject(subscription)).is_among(settings.oidc_senders)
    assert not Caller(callers.subject("default")).is_among(settings.oidc_senders)


def test_who_calls_a_service_has_a_token_for_it_and_the_right(
    objects: tuple[Manifest, ...],
) -> None:
    services = of(objects, "Service")
    for name, service in services.items():
        tokens = projected(service["spec"]["template"]["spec"])
        folder = HttpSettings.read(environment(service)).service_tokens
        assert folder == "/var/run/dsm/services"
        assert [t["path"] for t in tokens] == [f"services/{c}.dsm" for c in callers.calls()[name]]
        for called in callers.calls()[name]:
            settings = settings_of(services[called])
            (token,) = [t for t in tokens if t["path"] == f"services/{called}.dsm"]
            allowed = settings.oidc_callers
            if called == "dead-letter" and name != callers.CONSOLE:
                allowed = settings.oidc_senders
            if called != callers.CONSOLE:
                assert token["audience"] == settings.oidc_audience
                assert identity_of(service).is_among(allowed), f"{name} -> {called}"


def test_all_whom_the_settings_name_are_among_the_called() -> None:
    for name, folder in all_folders().items():
        source = "".join(path.read_text() for path in folder.rglob("*settings.py"))
        named = set(re.findall(r"http://([a-z-]+)\.dsm\.svc", source))
        # Jobs' pods call agent-outputs, with the grant of the Job in place of an identity.
        named -= {"agent-outputs"}
        assert named <= set(callers.calls()[name.replace("_", "-")]), name


def test_only_the_console_acts_for_others(objects: tuple[Manifest, ...]) -> None:
    console = identity_of(of(objects, "Service")[callers.CONSOLE])
    for name, service in of(objects, "Service").items():
        proxies = settings_of(service).oidc_proxies
        assert name == callers.CONSOLE or proxies == console.subject


def reached(policies: list[Manifest], port: int) -> list[str]:
    """To which addresses policies let a pod go, as far as they say it by address."""
    found = []
    for rule in (rule for policy in policies for rule in policy["spec"].get("egress", [])):
        ports = [p.get("port", port) for p in rule.get("ports", [{}])]
        if port in ports:
            found += [
                to["ipBlock"]["cidr"]
                for to in rule.get("to", [{"ipBlock": {"cidr": "any"}}])
                if "ipBlock" in to
            ]
    return found


@pytest.mark.parametrize("overlay", [None, *overlays.OVERLAYS], ids=str)
def test_postgresql_is_reached_where_it_is_and_nowhere_else(
    objects: tuple[Manifest, ...], overlay: str | None
) -> None:
    found = objects if overlay is None else overlays.objects(overlay)
    found = tuple(m for m in found if m["metadata"].get("namespace", "dsm") == "dsm")
    policies = of(found, "NetworkPolicy")
    for name, service in of(found, "Service").items():
        labels = service["spec"]["template"]["metadata"]["labels"]
        mine = [
            policy
            for policy in policies.values()
            if selects(policy, labels | {"serving.knative.dev/service": name})
        ]
        assert set(reached(mine, 5432)) <= {"10.0.0.0/8"}, f"{name} reaches any address"
        if mine and "DATABASE_URL" in environment(service):
            assert any(
                "to" in rule and 5432 in [port["port"] for port in rule.get("ports", [])]
                for policy in mine
                for rule in policy["spec"].get("egress", [])
            ), f"{name} reaches no database"


def test_every_function_may_ask_kubernetes_for_its_keys_and_few_the_internet(
    objects: tuple[Manifest, ...],
) -> None:
    anywhere = set()
    for name, service in of(objects, "Service").items():
        labels = service["spec"]["template"]["metadata"]["labels"]
        labels = labels | {"serving.knative.dev/service": name}
        mine = [p for p in of(objects, "NetworkPolicy").values() if selects(p, labels)]
        for port in (443, 6443):
            cidrs = reached(mine, port)
            assert set(callers.PRIVATE) <= set(cidrs), name
            if "any" in cidrs:
                anywhere.add(name)
            assert set(cidrs) <= {*callers.PRIVATE, "any"}, name
    assert anywhere == {
        *("job-launcher", "project-orchestrator", "console", "scheduler"),  # Kubernetes
        *("agent-outputs", "agent-status", "webhook-receiver"),  # GitHub
    }
