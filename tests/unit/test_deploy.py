"""`make deploy`: never the wrong overlay, the asked-for image, no success before all is ready."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.deploy.overlay import objects, of_kind

ROOT = Path(__file__).parents[2]
# A kubectl whose cluster is a file of answers; it builds with the local kustomize, an overlay once,
# and keeps a log. -S: it is called many times, and knows no package until it builds.
KUBECTL = """#!{python} -S
import json, sys
from pathlib import Path
home, words = Path({home!r}), sys.argv[1:]
if words[0] == "--context":
    words = words[2:]
known = {flags!r}
if unknown := [w for w in words if w.startswith("--") and w.partition("=")[0] not in known]:
    sys.exit(f"error: unknown flag: {{unknown[0]}}\\nSee 'kubectl {{words[0]}} --help' for usage.")
answers = json.loads((home / "answers.json").read_text())
with (home / "log.jsonl").open("a") as log:
    log.write(json.dumps(words) + "\\n")
if words[0] == "kustomize":
    built = Path({built!r}) / words[1].replace("/", "_")
    if not built.exists():
        sys.path[:0] = {path!r}
        import yaml
        from knative.local.manifests.kustomize import build
        bodies = [one.body for one in build(Path(words[1]))]
        built.write_text(yaml.dump_all(bodies, Dumper=yaml.CSafeDumper))
    print(built.read_text())
elif words[:2] == ["config", "current-context"]:
    print("there")
elif words[0] == "apply":
    given = sys.stdin.read()
    if not json.loads(given)["items"]:
        sys.exit("error: no objects passed to apply")
    with (home / "applied.jsonl").open("a") as applied:
        applied.write(given + "\\n")
    if refused := answers.get("apply"):
        print("namespace/dsm configured\\njob.batch/migrate created")
        sys.exit(refused)
    print(answers.get("applied", ""))
elif words[0] == "delete" and "-f" in words:
    (home / "deleted.yaml").write_text(sys.stdin.read())
else:
    asked = " ".join(words[:3])
    said = answers.get(f"json of {{asked}}" if words[-1] == "json" else asked, "")
    if isinstance(said, list):  # one after the other, the last for ever
        said, *left = said
        if left:
            key = f"json of {{asked}}" if words[-1] == "json" else asked
            (home / "answers.json").write_text(json.dumps(answers | {{key: left}}))
    if said is None:
        sys.exit("timed out waiting for the condition")
    print(said)
"""
# Of kubectl's flags those that are used here; it refuses what it does not know.
FLAGS = (
    *("--ignore-not-found", "--overwrite", "--no-headers", "--tail", "--dry-run", "--timeout"),
    *("--for", "--field-selector", "--selector", "--output", "--namespace", "--wait", "--all"),
)
DONE = {
    "get job migrate": "Complete",
    "get job migrate-dsm": "Complete",
    "get job setup-backlog": "Complete",
}
BROKERS = "json of get brokers.eventing.knative.dev -n"
THERE = {BROKERS: json.dumps({"items": [{"metadata": {"name": "default"}}]})}
FEATURES = "json of get configmap config-features"
IDENTITIES = {"authentication-oidc": "enabled", "transport-encryption": "strict"}
THERE[FEATURES] = json.dumps({"data": IDENTITIES})
SECRETS = {f"get secret {name}": name for name in ("backlog-db-secret", "database", "postgres")}


@dataclass
class Cluster:
    home: Path

    def deploy(
        self, *options: str, **answers: str | list[str] | None
    ) -> subprocess.CompletedProcess[str]:
        known = DONE | SECRETS | THERE | answers
        (self.home / "answers.json").write_text(json.dumps(known))
        return self.make("deploy", *options)

    def make(self, *options: str) -> subprocess.CompletedProcess[str]:
        tools = ["INSTALLED=", f"RUN={sys.executable}", f"KUBECTL={self.home / 'kubectl'}"]
        command = ["make", "--no-print-directory", *tools, *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def calls(self) -> list[list[str]]:
        log = self.home / "log.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def verbs(self) -> list[str]:
        return [message[0] for message in self.calls()]

    def images(self) -> set[str]:
        def found(value: Any) -> set[str]:
            if isinstance(value, list):
                return set().union(*map(found, value))
            if isinstance(value, dict):
                own = {value["image"]} if isinstance(value.get("image"), str) else set()
                return own.union(*map(found, value.values()))
            return set()

        return found(self.applied())

    def variables(self, name: str) -> set[str]:
        """The values of a variable of all containers."""

        def found(value: Any) -> set[str]:
            if isinstance(value, list):
                return set().union(*map(found, value))
            if isinstance(value, dict):
                own = {value["value"]} if value.get("name") == name and "value" in value else set()
                return own.union(*map(found, value.values()))
            return set()

        return found(self.applied())

    def applied(self) -> list[list[dict[str, Any]]]:
        """The objects, apply by apply."""
        lines = (self.home / "applied.jsonl").read_text().splitlines()
        return [json.loads(line)["items"] for line in lines]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("built")


@pytest.fixture
def cluster(tmp_path: Path, built: Path) -> Cluster:
    path = [str(ROOT), *sys.path]
    text = KUBECTL.format(
        python=sys.executable, home=str(tmp_path), built=str(built), path=path, flags=FLAGS
    )
    (tmp_path / "kubectl").write_text(text)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "answers.json").write_text("{}")
    return Cluster(tmp_path)


@pytest.mark.parametrize("target", ["deploy", "undeploy"])
def test_without_an_overlay_nothing_is_asked_of_the_cluster(cluster: Cluster, target: str) -> None:
    done = cluster.make(target, "TAG=v2", "YES=1")
    assert done.returncode != 0
    assert "Which overlay?" in done.stdout
    assert cluster.calls() == []


def test_an_overlay_that_is_not_there_is_refused_with_those_that_are(cluster: Cluster) -> None:
    done = cluster.deploy("OVERLAY=prodution")
    assert done.returncode != 0
    assert "no overlay prodution" in done.stderr
    assert "production" in done.stderr
    assert "apply" not in cluster.verbs()


def test_the_context_is_shown_before_anything_changes(cluster: Cluster) -> None:
    done = cluster.deploy("OVERLAY=kind")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Overlay kind to context there\n")
    assert done.stdout.endswith("All of it is ready.\n")


@pytest.mark.parametrize(
    ("options", "image"),
    [
        ([], "dev.local/dsm-functions:dev"),
        (["TAG=v2"], "dev.local/dsm-functions:v2"),
        (["IMAGE=registry:5000/ours", "TAG=v2"], "registry:5000/ours:v2"),
        (["IMAGE=registry:5000/ours"], "registry:5000/ours:dev"),
        ([f"TAG=sha256:{'0' * 64}"], f"dev.local/dsm-functions@sha256:{'0' * 64}"),
    ],
)
def test_image_and_tag_stand_in_for_the_overlays_own(
    cluster: Cluster, options: list[str], image: str
) -> None:
    assert cluster.deploy("OVERLAY=kind", *options).returncode == 0
    theirs = ("postgres", "ubuntu/squid")
    assert {i for i in cluster.images() if not any(name in i for name in theirs)} == {image}
    assert cluster.variables("WORKSPACE_IMAGE") == {image}


def test_the_wrong_overlay_changes_nothing_where_the_brokers_differ(cluster: Cluster) -> None:
    done = cluster.deploy("OVERLAY=kind", **{"get broker default": "Kafka"})
    assert done.returncode != 0
    assert "is Kafka, the overlay's MTChannelBasedBroker" in done.stderr
    assert not {"apply", "delete"} & set(cluster.verbs())


def test_kinds_that_the_cluster_does_not_know_are_named_before_anything_changes(
    cluster: Cluster,
) -> None:
    known = """
        namespaces ns v1 false Namespace
        eventtypes eventing.knative.dev/v1 true EventType
        triggers eventing.knative.dev/v1 true Trigger
    """
    done = cluster.deploy("OVERLAY=production", **{"api-resources --no-headers": known.strip()})
    assert done.returncode != 0
    assert " Broker (eventing.knative.dev), ConfigMap (v1), " in done.stderr
    assert "KafkaSource (sources.knative.dev)" in done.stderr
    assert not {"EventType", "Namespace", "Trigger"} & set(re.findall(r"\w+(?= \()", done.stderr))
    assert not {"apply", "delete"} & set(cluster.verbs())


def test_a_missing_secret_is_named_before_anything_changes(cluster: Cluster) -> None:
    done = cluster.deploy("OVERLAY=production", **{"get secret database": ""})
    assert done.returncode != 0
    assert "Secret dsm/database is not in the cluster" in done.stderr
    assert not {"apply", "delete"} & set(cluster.verbs())


def test_a_missing_config_map_is_named_too(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "base").symlink_to(ROOT / "knative" / "base")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kustomization.yaml").write_text('resources: ["../base"]')
    done = cluster.deploy(f"OVERLAY={tmp_path / 'own'}")
    assert done.returncode != 0
    assert "ConfigMap dsm/backlog-db-config is not in the cluster" in done.stderr
    assert not {"apply", "delete"} & set(cluster.verbs())


def objects_in(folder: Path, *bodies: dict[str, Any]) -> str:
    """An overlay of just these, as an option of make."""
    (folder / "own").mkdir()
    (folder / "own" / "kustomization.yaml").write_text("resources: [objects.yaml]")
    (folder / "own" / "objects.yaml").write_text(yaml.safe_dump_all(bodies))
    return f"OVERLAY={folder / 'own'}"


def made(api_version: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    home = {"name": name, "namespace": "dsm"}
    return {"apiVersion": api_version, "kind": kind, "metadata": home, "spec": spec}


def test_a_part_may_be_empty(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.deploy(objects_in(tmp_path, made("eventing.knative.dev/v1", "Trigger", "t")))
    assert done.returncode == 0, done.stderr
    assert [[one["kind"] for one in part] for part in cluster.applied()] == [["Trigger"]]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("eventing.knative.dev/v1alpha1", "KafkaSink"),
        ("messaging.knative.dev/v1", "Channel"),
        ("serving.knative.dev/v1", "Service"),
    ],
)
def test_a_broker_comes_with_its_dead_letter_sink_whatever_that_is(
    cluster: Cluster, tmp_path: Path, api_version: str, kind: str
) -> None:
    sink = {"ref": {"apiVersion": api_version, "kind": kind, "name": "graves"}}
    broker = made("eventing.knative.dev/v1", "Broker", "b", delivery={"deadLetterSink": sink})
    template: dict[str, Any] = {"template": {"spec": {"containers": []}}}
    graves = made(api_version, kind, "graves", **template)
    assert cluster.deploy(objects_in(tmp_path, broker, graves)).returncode == 0
    assert [{one["kind"] for one in part} for part in cluster.applied()] == [{"Broker", kind}]


@pytest.mark.parametrize(
    ("subject", "sink", "early"),
    [
        ({"selector": {"matchLabels": {"a": "b"}}}, "Broker", True),
        ({"selector": {"matchLabels": {"a": "b"}}}, "Service", False),
        ({"name": "console"}, "Broker", False),
    ],
)
def test_a_binding_comes_early_only_where_it_waits_for_no_service(
    cluster: Cluster, tmp_path: Path, subject: dict[str, Any], sink: str, early: bool
) -> None:
    broker = made("eventing.knative.dev/v1", "Broker", "b")
    ref = {"ref": {"apiVersion": "any/v1", "kind": sink, "name": "b"}}
    binding = made("sources.knative.dev/v1", "SinkBinding", "s", subject=subject, sink=ref)
    assert cluster.deploy(objects_in(tmp_path, broker, binding)).returncode == 0
    assert ("SinkBinding" in [one["kind"] for one in cluster.applied()[0]]) is early


def test_what_kubernetes_makes_itself_is_not_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    roots = {"configMap": {"name": "kube-root-ca.crt"}}
    pod = {
        "initContainers": [{"envFrom": [{"secretRef": {"name": "first"}}]}],
        "volumes": [{"projected": {"sources": [roots]}}],
    }
    done = cluster.deploy(
        objects_in(tmp_path, made("apps/v1", "Deployment", "d", template={"spec": pod}))
    )
    assert "Secret dsm/first is not in the cluster" in done.stderr
    assert "kube-root-ca.crt" not in done.stderr


def test_a_secret_of_the_overlay_is_not_asked_of_the_cluster(cluster: Cluster) -> None:
    assert cluster.deploy("OVERLAY=kind").returncode == 0
    assert not [message for message in cluster.calls() if message[:2] == ["get", "secret"]]


def test_it_waits_in_the_order_of_cause(cluster: Cluster) -> None:
    cluster.deploy("OVERLAY=production")
    waited = [message[5].partition("/")[0] for message in cluster.calls() if message[0] == "wait"]
    assert waited == [
        "services.serving.knative.dev",  # the dead letter sink
        "brokers.eventing.knative.dev",
        "sinkbindings.sources.knative.dev",
        "services.serving.knative.dev",
        "triggers.eventing.knative.dev",
        "pingsources.sources.knative.dev",
        "kafkasinks.eventing.knative.dev",
        "kafkasources.sources.knative.dev",
    ]
    asked = [message[2] for message in cluster.calls() if message[:2] == ["get", "job"]]
    assert asked == ["migrate", "migrate-dsm"]
    steps = [verb for verb in cluster.verbs() if verb in ("apply", "delete", "wait")]
    waits = ["wait"] * 3, ["wait"] * 5
    assert steps == ["delete", "apply", "apply", *waits[0], "delete", "apply", *waits[1]]


def test_nothing_is_applied_before_what_it_needs(cluster: Cluster) -> None:
    cluster.deploy("OVERLAY=kind")
    ground, broker, rest = (
        {f"{one['kind']} {one['metadata']['name']}" for one in part} for part in cluster.applied()
    )
    assert {"Namespace dsm", "StatefulSet postgres", "Job migrate", "Secret database"} <= ground
    assert broker == {"Broker default", "Service dead-letter", "SinkBinding publishers"}
    assert {"Service orchestrator", "Trigger orchestrator-due", "Job setup-backlog"} <= rest


def test_a_dead_letter_sink_that_sends_events_finds_a_new_broker_bound(cluster: Cluster) -> None:
    """It would get a second revision otherwise, as soon as the SinkBinding knows the Broker."""
    assert cluster.deploy("OVERLAY=kind", **{BROKERS: ""}).returncode == 0
    _, early, whole, _ = cluster.applied()
    assert {one["kind"] for one in early} == {"Broker", "SinkBinding"}
    first, second = (
        next(one["spec"]["delivery"] for one in part if one["kind"] == "Broker")
        for part in (early, whole)
    )
    assert "deadLetterSink" not in first
    assert {**first, "deadLetterSink": second["deadLetterSink"]} == second
    calls = [" ".join(message) for message in cluster.calls() if message[0] in ("apply", "wait")]
    bound = next(n for n, call in enumerate(calls) if "sinkbindings" in call)
    assert [call.split()[0] for call in calls[:bound]].count("apply") == 2


@pytest.mark.parametrize(
    ("ready", "before", "mark"),
    [
        ("False", None, "console-00003"),
        ("False", "console-00002", "console-00003"),
        ("True", "console-00002", "console-00002"),
        ("True", None, None),
    ],
)
def test_a_service_that_knative_gave_up_is_tried_again(
    cluster: Cluster, ready: str, before: str | None, mark: str | None
) -> None:
    live = {
        "metadata": {"name": "console"},
        "spec": {"template": {"metadata": {"annotations": {"dsm.io/again": before}}}},
        "status": {
            "latestCreatedRevisionName": "console-00003",
            "conditions": [
                {"type": "Ready", "status": "False"},
                {"type": "ConfigurationsReady", "status": ready},
            ],
        },
    }
    answer = {"json of get services.serving.knative.dev -n": json.dumps({"items": [live]})}
    assert cluster.deploy("OVERLAY=kind", **answer).returncode == 0
    marks = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["annotations"]
        for one in of_kind([one for part in cluster.applied() for one in part], "Service")
    }
    assert marks["console"].get("dsm.io/again") == mark
    assert not [name for name in marks if name != "console" and "dsm.io/again" in marks[name]]


def test_what_does_not_become_ready_is_no_success(cluster: Cluster) -> None:
    ready = {"type": "Ready", "status": "False", "reason": "NoImage", "message": "no such image"}
    service = "services.serving.knative.dev/dead-letter"
    output = json.dumps({"status": {"conditions": [ready]}})
    answers = {"wait -n dsm": None, f"json of get {service} -n": output}
    done = cluster.deploy("OVERLAY=kind", **answers)
    assert done.returncode != 0
    assert f"{service} is not ready: no such image" in done.stderr
    assert "ready" not in done.stdout


def test_a_migration_that_failed_is_reported_at_once_with_its_reason_and_log(
    cluster: Cluster,
) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "6"}
    waits = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
    pod = {"metadata": {"name": "migrate-x"}, "status": {"containerStatuses": [waits]}}
    answers = {
        "get job migrate": "Failed",
        "json of get job migrate": json.dumps({"status": {"conditions": [failed]}}),
        "json of get pods -n": json.dumps({"items": [pod]}),
        "logs -n dsm": "no such host",
    }
    done = cluster.deploy("OVERLAY=kind", **answers)
    assert done.returncode != 0
    assert "job dsm/migrate is not complete:\nBackoffLimitExceeded: 6\n" in done.stderr
    assert "migrate-x: ImagePullBackOff: no such tag\nno such host" in done.stderr
    assert "wait" not in cluster.verbs()


def test_what_a_webhook_refuses_is_named_although_it_names_nothing(cluster: Cluster) -> None:
    done = cluster.deploy("OVERLAY=kind", apply="admission webhook denied the request")
    assert done.returncode != 0
    assert "admission webhook denied the request" in done.stderr
    (left,) = re.findall(r"Not applied: (.*), nor the parts after them\.", done.stderr)
    assert "statefulset.apps/postgres" in left.split(", ")
    assert not {"namespace/dsm", "job.batch/migrate"} & set(left.split(", "))
    assert "wait" not in cluster.verbs()


@pytest.mark.parametrize(
    ("options", "agreed"), [([], False), (["YES=no"], False), (["YES=1"], True)]
)
def test_undeploy_leaves_namespaces_alone_and_asks_before(
    cluster: Cluster, options: list[str], agreed: bool
) -> None:
    done = cluster.make("undeploy", "OVERLAY=kind", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Overlay kind from context there\n")
    kinds = {m["kind"] for m in objects((cluster.home / "deleted.yaml").read_text())}
    assert "Broker" in kinds
    assert "Namespace" not in kinds
    deletions = [message for message in cluster.calls() if message[0] == "delete"]
    assert [("--dry-run=client" not in message) for message in deletions] == [agreed, agreed]


def test_kubectl_may_come_with_options(cluster: Cluster) -> None:
    options = ["KUBECTL=" + str(cluster.home / "kubectl") + " --context staging"]
    done = cluster.make("undeploy", "OVERLAY=kind", *options)
    assert done.stdout.startswith("Overlay kind from context staging\n"), done.stderr


def test_two_images_have_no_tag_in_common(cluster: Cluster, tmp_path: Path) -> None:
    patch = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "other"}
    body = {
        "resources": ["../overlay"],
        "patches": [
            {"target": {"kind": "Service", "name": "console"}, "patch": json.dumps([patch])}
        ],
    }
    (tmp_path / "two").mkdir()
    (tmp_path / "overlay").symlink_to(ROOT / "knative" / "overlays" / "kind")
    (tmp_path / "two" / "kustomization.yaml").write_text(yaml.safe_dump(body))
    done = cluster.deploy(f"OVERLAY={tmp_path / 'two'}", "TAG=v2")
    assert done.returncode != 0
    assert "the overlay has ['dev.local/dsm-functions', 'other']" in done.stderr


def test_a_pod_of_a_migration_that_fails_is_reported_while_the_job_tries_again(
    cluster: Cluster,
) -> None:
    pods = {"items": [{"metadata": {"name": "migrate-x"}, "status": {"phase": "Failed"}}]}
    answers: dict[str, str | list[str] | None] = {
        "get job migrate": ["", "", "Complete"],
        "json of get pods -n": json.dumps(pods),
        "logs -n dsm": "connection refused",
    }
    done = cluster.deploy("OVERLAY=kind", **answers)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pod dsm/migrate-x has failed: connection refused\n") == 1
    assert done.stdout.index("has failed") < done.stdout.index("job dsm/migrate is done")


@pytest.mark.parametrize(
    ("applied", "touched"),
    [
        ("broker.eventing.knative.dev/default created", True),
        ("broker.eventing.knative.dev/default configured", False),
        ("broker.eventing.knative.dev/other created", False),
    ],
)
def test_a_binding_is_touched_once_its_broker_was_made_anew(
    cluster: Cluster, applied: str, touched: bool
) -> None:
    assert cluster.deploy("OVERLAY=kind", applied=applied).returncode == 0
    marks = [message for message in cluster.calls() if message[0] == "annotate"]
    assert [message[1:6] for message in marks] == (
        [["--overwrite", "sinkbinding.sources.knative.dev", "publishers", "-n", "dsm"]]
        if touched
        else []
    )
    if touched:
        waits = [message for message in cluster.calls() if message[0] in ("wait", "annotate")]
        kinds = [next((kind for kind in ("brokers", "annotate", "sinkbindings") if kind in
                       " ".join(message)), "") for message in waits]  # fmt: skip
        assert kinds.index("brokers") < kinds.index("annotate") < kinds.index("sinkbindings")


RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_workloads_of_others_that_restricted_would_stop_are_named(cluster: Cluster) -> None:
    def pod(**context: Any) -> dict[str, Any]:
        return {"template": {"spec": {"containers": [{"securityContext": context}]}}}

    there = [
        made("batch/v1", "CronJob", "run-dailyscrum", jobTemplate={"spec": pod()}),
        made("apps/v1", "Deployment", "root", **pod(**{**RESTRICTED, "runAsNonRoot": False})),
        made("apps/v1", "Deployment", "tame", **pod(**RESTRICTED)),
        made("apps/v1", "StatefulSet", "postgres", **pod()),  # the overlay's own
    ]
    answer = {
        "json of get deployments,statefulsets,daemonsets,cronjobs -n": json.dumps({"items": there})
    }
    done = cluster.deploy("OVERLAY=kind", **answer)
    assert done.returncode == 0, done.stderr
    assert "Namespace dsm is going to enforce Pod Security `restricted`" in done.stdout
    assert "new pods of CronJob run-dailyscrum, Deployment root will be rejected" in done.stdout


def test_nothing_is_tried_out_on_the_server(cluster: Cluster) -> None:
    # An empty cluster rejects each Service so: the webhook's dry-run pod has no ServiceAccount yet.
    assert cluster.deploy("OVERLAY=kind").returncode == 0
    assert not [message for message in cluster.calls() if "--dry-run=server" in message]


@pytest.mark.parametrize(
    ("policies", "broker", "warned"),
    [("", "default", True), ("eventpolicy/x", "default", False), ("", "", False)],
    ids=["a live Broker", "with policies already", "no Broker yet"],
)
def test_policies_for_a_broker_that_was_made_without_are_warned_of(
    cluster: Cluster, tmp_path: Path, policies: str, broker: str, warned: bool
) -> None:
    policy = made("eventing.knative.dev/v1alpha1", "EventPolicy", "p")
    own = made("eventing.knative.dev/v1", "Broker", "default")
    answers = {
        "get eventpolicies.eventing.knative.dev -n": policies,
        "get brokers.eventing.knative.dev default": f"broker/{broker}" if broker else "",
    }
    done = cluster.deploy(objects_in(tmp_path, policy, own), **answers)
    assert done.returncode == 0, done.stderr
    assert ("kubectl delete broker default -n dsm" in done.stdout) == warned, done.stdout


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ({}, ["authentication-oidc: enabled", "transport-encryption: permissive"]),
        (IDENTITIES | {"authentication-oidc": "disabled"}, ["authentication-oidc: enabled"]),
        (IDENTITIES | {"transport-encryption": "disabled"}, ["transport-encryption: permissive"]),
        (IDENTITIES | {"authentication-oidc": "Enabled"}, []),
    ],
)
def test_tokens_that_the_cluster_does_not_give_out_are_not_asked_for(
    cluster: Cluster, tmp_path: Path, features: dict[str, str], named: list[str]
) -> None:
    overlay = objects_in(tmp_path, made("eventing.knative.dev/v1alpha1", "EventPolicy", "p"))
    done = cluster.deploy(overlay, **{FEATURES: json.dumps({"data": features})})
    assert (done.returncode != 0) == bool(named), done.stderr
    assert ("Nothing has been changed" in done.stderr) == bool(named)
    assert ("apply" in cluster.verbs()) != bool(named)
    for feature in ("authentication-oidc: enabled", "transport-encryption: permissive"):
        assert (feature in done.stderr) == (feature in named), done.stderr


@pytest.mark.parametrize("overlay", ["production", "authenticated"])
def test_a_deploy_warns_where_callers_are_taken_at_their_word(
    cluster: Cluster, overlay: str
) -> None:
    done = cluster.deploy(f"OVERLAY={overlay}")
    assert done.returncode == 0, done.stderr
    assert ("taken at its word" in done.stdout) == (overlay == "production"), done.stdout


@pytest.mark.parametrize("proven", [True, False])
def test_approvals_are_refused_where_an_agent_could_give_them(
    cluster: Cluster, tmp_path: Path, proven: bool
) -> None:
    """Its pod reaches job-launcher through the gateway; only a token keeps it from approving."""
    routes = {"version": 1, "routes": [{"name": "ours", "job": {"approval": {"before": "start"}}}]}
    config = made("v1", "ConfigMap", "job-routes") | {"data": {"routes.yaml": yaml.dump(routes)}}
    policy = made("eventing.knative.dev/v1alpha1", "EventPolicy", "p")
    done = cluster.deploy(objects_in(tmp_path, config, *([policy] if proven else [])))
    assert (done.returncode == 0) == proven, done.stderr
    assert ("Route ours of ConfigMap job-routes" in done.stderr) != proven
    assert ("apply" in cluster.verbs()) == proven
