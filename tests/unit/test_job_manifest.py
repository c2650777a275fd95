"""A Job's manifest is valid whatever the event says, and gives nothing away."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.agent_outputs import outputs
from functions.agent_pod.__main__ import STARTED
from functions.events.base import AnyEvent
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.kubernetes import manifest
from functions.job_launcher.routes.match import choose
from functions.job_launcher.routes.render import job_id, render_requests
from functions.job_launcher.routes.rendered_fields import RenderError
from functions.job_launcher.routes.route_file import parse
from functions.job_launcher.settings import LauncherSettings
from tests.support.job_events import FUNCTIONS, IMAGE, ISSUE, LAUNCHER, TASK, event
from tests.support.job_world import shipped_routes
from tests.support.repository import ROOT

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
KUBERNETES = "1.34"
TEXT = st.text(max_size=300)


def request(asked: AnyEvent | None = None, environ: Mapping[str, str] | None = None) -> JobRequest:
    asked = asked or event("com.github.issue.labeled", ISSUE)
    choice = choose(parse(shipped_routes()), asked)
    settings = LauncherSettings.read(
        {"JOB_IMAGE": IMAGE, "WORKSPACE_IMAGE": FUNCTIONS, **(environ or {})}
    )
    (made,) = render_requests(choice, asked, settings)
    return made


def validate(body: Any) -> None:
    kubernetes_validate.validate(body, KUBERNETES, strict=True)


@given(TEXT, TEXT, TEXT, TEXT)
@settings(max_examples=300)
def test_a_name_is_valid_whatever_the_input(kind: str, service: str, task: str, id: str) -> None:
    name = job_id(kind, service, task, "/s", id)
    assert NAME.fullmatch(name)
    assert len(name) <= 57  # its pods' names are six longer


@given(TEXT)
def test_a_label_is_valid_whatever_the_input(text: str) -> None:
    value = manifest.label_value(text)
    assert LABEL.fullmatch(value)
    assert len(value) <= 63


def test_two_events_never_share_a_name() -> None:
    assert job_id("execute", "s", "t", "/a", "1") != job_id("execute", "s", "t", "/a", "2")
    assert job_id("execute", "s", "t", "/a", "1") != job_id("execute", "s", "t", "/b", "1")


@given(title=TEXT, body=TEXT, name=st.text(min_size=1, max_size=300))
@settings(max_examples=30, deadline=None)
def test_the_manifests_fit_kubernetes_openapi(title: str, body: str, name: str) -> None:
    data = {
        **ISSUE,
        "issue": {"number": 7, "title": title, "body": body},
        "repository": {"full_name": "acme/shop"},
    }
    asked = request(event("com.github.issue.labeled", data, id=name))
    job = manifest.job_of(asked)
    validate(job)
    files = manifest.config_map_of(asked, {"metadata": {"uid": "u-1"}})
    assert files is not None
    validate(files)


def test_a_job_runs_without_any_privilege() -> None:
    spec = manifest.job_of(request())["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_agent_with_a_workspace_sees_neither_a_token_nor_the_grant() -> None:
    job = manifest.job_of(request())
    validate(job)
    spec = job["spec"]["template"]["spec"]
    (agent,) = spec["containers"]
    model, prepare, collect = spec["initContainers"]

    assert [one["name"] for one in (model, prepare, collect)] == ["model", "workspace", "outputs"]
    assert {mount["name"] for mount in model["volumeMounts"]} == {"temporary"}
    assert (prepare.get("restartPolicy"), collect["restartPolicy"]) == (None, "Always")
    assert {one["image"] for one in (prepare, collect)} == {FUNCTIONS}
    assert {mount["name"] for mount in agent["volumeMounts"]} == {"workspace", "tmp", "task"}
    assert "GITHUB_TOKEN" not in {variable["name"] for variable in agent["env"]}
    assert {mount["name"] for mount in collect["volumeMounts"]} >= {"grant", "collected"}
    assert all(
        one["securityContext"]["readOnlyRootFilesystem"] for one in (prepare, collect, agent)
    )
    # By commands, as a kubelet cannot reach a pod's 127.0.0.1.
    # Usage is the sum over a Job's pods: a variable of the pod's own, on no disk that may be full.
    [uid] = [one["valueFrom"] for one in collect["env"] if one["name"] == "POD_UID"]
    assert uid == {"fieldRef": {"fieldPath": "metadata.uid"}}
    folder = next(one["value"] for one in collect["env"] if one["name"] == "COLLECTED_DIR")
    looks = ["test", "-e", f"{folder}/{STARTED}"]
    assert collect["startupProbe"]["exec"]["command"] == looks
    port = next(one["value"] for one in model["env"] if one["name"] == "MODEL_PORT")
    assert f"('127.0.0.1', {port})" in model["startupProbe"]["exec"]["command"][-1]
    for probe in (model["startupProbe"], collect["startupProbe"]):
        assert probe["terminationGracePeriodSeconds"] < 10


def test_a_setup_command_runs_in_the_agents_image_without_the_grant() -> None:
    routes = shipped_routes().replace("workspace:\n", "workspace:\n        setup: [npm, ci]\n", 1)
    asked = event("com.github.issue.labeled", ISSUE)
    (made,) = render_requests(choose(parse(routes), asked), asked, LAUNCHER)
    job = manifest.job_of(made)
    validate(job)
    *_, setup = job["spec"]["template"]["spec"]["initContainers"]
    assert (setup["name"], setup["command"], setup["image"]) == ("setup", ["npm", "ci"], IMAGE)
    assert [one["name"] for one in setup["env"]] == ["HOME", "TMPDIR"]
    assert {mount["name"] for mount in setup["volumeMounts"]} == {"workspace", "tmp", "task"}
    assert setup["securityContext"]["readOnlyRootFilesystem"]


def test_a_route_says_where_and_how_its_pods_run() -> None:
    pod = (
        "pod: {runtime_class: gvisor, queue: agents, node_selector: {example.com/pool: agents},"
        " tolerations: [{key: agents, operator: Exists, effect: NoExecute,"
        " toleration_seconds: 60}], read_only: false}"
    )
    routes = shipped_routes().replace("outputs: {}", pod, 1)
    asked = event("com.github.issue.labeled", ISSUE)
    (made,) = render_requests(choose(parse(routes), asked), asked, LAUNCHER)
    job = manifest.job_of(made)
    validate(job)
    assert job["spec"]["suspend"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "agents"
    spec = job["spec"]["template"]["spec"]
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["nodeSelector"] == {"example.com/pool": "agents"}
    assert spec["tolerations"] == [
        {"key": "agents", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    ]
    read_only = {
        one["name"]: one["securityContext"]["readOnlyRootFilesystem"]
        for one in (*spec["initContainers"], *spec["containers"])
    }
    assert read_only == {"model": True, "workspace": True, "outputs": True, "agent": False}


def test_without_a_repository_only_sidecars_are_beside_the_agent() -> None:
    asked = event("io.dsm.task.requested.v1", {"task_id": "T-1", "service": "s", "title": "Why?"})
    (made,) = render_requests(choose(parse(shipped_routes()), asked), asked, LAUNCHER)
    job = manifest.job_of(made)
    validate(job)
    spec = job["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["model", "outputs"]
    [agent] = spec["containers"]
    names = {variable["name"] for variable in agent["env"]}
    assert ("OUTPUTS_FILE" in names, "REPOSITORY_DIR" in names) == (True, False)
    assert agent["workingDir"] == "/workspace"


def test_a_list_of_hosts_is_a_label_and_the_address_of_its_proxy() -> None:
    environ = {"EGRESS_PROXIES": "code=3128,python=3129"}
    made = request(environ=environ)
    made.workspace.setup.append("true") if made.workspace else None
    job = manifest.job_of(made)
    validate(job)
    template = job["spec"]["template"]
    assert template["metadata"]["labels"]["jobs.dsm.io/egress"] == "code"
    found = {
        one["name"]: {variable["name"]: variable.get("value") for variable in one["env"]}
        for one in (*template["spec"]["initContainers"], *template["spec"]["containers"])
    }
    proxy = "http://egress-proxy:3128"
    for name in ("agent", "setup"):
        assert {found[name][one] for one in ("HTTP_PROXY", "HTTPS_PROXY", "https_proxy")} == {proxy}
    assert found["workspace"]["HTTPS_PROXY"] == proxy
    assert "HTTP_PROXY" not in found["workspace"] | found["outputs"], "agent-outputs is inside"


@pytest.mark.parametrize(
    ("proxies", "known"), [("", "none"), ("code=3128,python=3129", "code, python")]
)
def test_a_list_that_is_not_there_is_refused(proxies: str, known: str) -> None:
    routes = shipped_routes().replace("outputs: {}", "pod: {egress: ruby}", 1)
    asked = event("com.github.issue.labeled", ISSUE)
    settings = LauncherSettings.read(
        {"JOB_IMAGE": IMAGE, "WORKSPACE_IMAGE": FUNCTIONS, "EGRESS_PROXIES": proxies}
    )
    with pytest.raises(RenderError, match=f"no list ruby: EGRESS_PROXIES .* has {known}"):
        render_requests(choose(parse(routes), asked), asked, settings)


def test_the_grant_is_a_secret_of_the_job() -> None:
    asked = request()
    secret = manifest.grant_secret_of(asked, {"metadata": {"uid": "u-1"}}, "token")
    validate(secret)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert secret["metadata"]["name"] == asked.job_id


def test_a_job_has_the_defaults_of_the_settings() -> None:
    job = manifest.job_of(request())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi"},
    }
    assert job["spec"]["ttlSecondsAfterFinished"] == 1800
    assert job["spec"]["activeDeadlineSeconds"] == 3600
    assert job["spec"]["backoffLimit"] == 0


def test_the_settings_are_read_from_the_environment() -> None:
    environ = {"JOB_IMAGE": "mine:1", "JOB_TTL_SECONDS": "5", "JOB_MEMORY_LIMIT": "9Gi"}
    job = manifest.job_of(request(environ=environ))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    found = (container["image"], container["resources"]["limits"]["memory"])
    assert found == ("mine:1", "9Gi")
    assert job["spec"]["ttlSecondsAfterFinished"] == 5


def test_secrets_come_by_reference_only() -> None:
    asked = request(event("io.dsm.task.requested.v1", TASK))
    pod = manifest.job_of(asked)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [one for one in container["env"] if "valueFrom" in one] == []
    secrets = [
        (beside["name"], one["name"], one["valueFrom"])
        for beside in pod["initContainers"]
        for one in beside["env"]
        if "valueFrom" in one and one["name"] != "POD_UID"
    ]
    key = {"name": "agent-credentials", "key": "anthropic-api-key", "optional": True}
    assert secrets == [("model", "MODEL_KEY", {"secretKeyRef": key})]


def test_what_the_models_sidecar_counts_is_where_no_agent_writes() -> None:
    pod = manifest.job_of(request(event("io.dsm.task.requested.v1", TASK)))["spec"]["template"]
    found = {
        one["name"]: (
            {each["name"]: each.get("value") for each in one["env"]}.get("MODEL_USAGE_FILE"),
            {each["mountPath"]: each["name"] for each in one["volumeMounts"]}["/tmp"],
        )
        for one in [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    }
    at = ("/tmp/model-usage.json", "temporary")
    assert found == {"model": at, "outputs": at, "agent": (None, "tmp")}


@pytest.mark.parametrize("files", ["{}", "{task.md: do it}"])
def test_secret_files_are_keys_of_secrets_beside_our_own_files(files: str) -> None:
    secret = "{login: {secret: agent-login, key: json}, x: {secret: y, key: z, optional: true}}"
    job = f"{{kind: execute, task_id: t, service: s, files: {files}, secret_files: {secret}}}"
    routes = parse(f"routes:\n  - {{name: a, match: {{type: '*'}}, job: {job}}}")
    asked = event("x", {})
    (made,) = render_requests(choose(routes, asked), asked, LAUNCHER)

    body = manifest.job_of(made)
    validate(body)
    (volume,) = [v for v in body["spec"]["template"]["spec"]["volumes"] if v["name"] == "task"]
    ours = [{"configMap": {"name": made.job_id}}] if made.files else []
    assert volume["projected"]["sources"] == [
        *ours,
        {"secret": {"name": "agent-login", "items": [{"key": "json", "path": "login"}]}},
        {"secret": {"name": "y", "items": [{"key": "z", "path": "x"}], "optional": True}},
    ]
    assert bool(manifest.config_map_of(made, {"metadata": {"uid": "u"}})) == bool(made.files)


def test_an_event_cannot_read_a_variable() -> None:
    stealing = "$(ANTHROPIC_API_KEY)"
    asked = request(event("io.dsm.task.requested.v1", {**TASK, "service": stealing}))
    (container,) = manifest.job_of(asked)["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    assert values["SERVICE_NAME"] == "$$(ANTHROPIC_API_KEY)"
    assert all("$(" not in value.replace("$$", "") for value in values.values())


def test_where_a_job_comes_from_is_in_its_annotations() -> None:
    annotations = manifest.job_of(request())["metadata"]["annotations"]
    assert annotations["jobs.dsm.io/event-id"] == "d-1"
    assert annotations["jobs.dsm.io/github-delivery"] == "d-1"
    assert annotations["jobs.dsm.io/task-id"] == "acme/shop#7"
    assert annotations["jobs.dsm.io/repository"] == "https://github.com/acme/shop"


def test_the_files_are_owned_by_the_job() -> None:
    asked = request()
    files = manifest.config_map_of(asked, {"metadata": {"uid": "u-1"}})
    assert files is not None
    (owner,) = files["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", asked.job_id, "u-1")
    assert "Fix it" in files["data"]["task.md"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("deadline_seconds", "'{{ \"0\" }}'", "deadline_seconds: '0' is no whole number from 1"),
        ("retries", "'{{ data.action }}'", "retries: 'labeled' is no whole number from 0"),
        ("task_id", "'{{ data.nothing }}'", "task_id: the event has no data.nothing"),
        ("files", "{x: '{{ data.big }}'}", "files are 1000000 bytes, 900000 at most"),
    ],
)
def test_an_event_that_does_not_fit_its_route_is_refused_by_field(
    field: str, value: str, message: str
) -> None:
    fields = {"kind": "execute", "task_id": "t", "service": "s", field: value}
    lines = "".join(f"      {name}: {text}\n" for name, text in fields.items())
    routes = parse(f"routes:\n  - name: a\n    match: {{type: '*'}}\n    job:\n{lines}")
    asked = event("x", {**ISSUE, "big": "x" * 1_000_000})
    with pytest.raises(RenderError, match=message):
        render_requests(choose(routes, asked), asked, LAUNCHER)


@pytest.mark.parametrize("field", ["task_id", "service", "group"])
def test_what_a_job_is_found_by_has_a_length_that_an_index_holds(field: str) -> None:
    job = {"kind": "execute", "task_id": "t", "service": "s", field: "{{ data.name }}"}
    routes = parse(json.dumps({"routes": [{"name": "r", "match": {"type": "*"}, "job": job}]}))
    asked = event("x", {"name": "n" * 200_000})
    with pytest.raises(RenderError, match=f"{field}: 200000 characters, 200 at most"):
        render_requests(choose(routes, asked), asked, LAUNCHER)


def test_a_supersede_key_of_any_length_stays_a_key() -> None:
    job = {"kind": "execute", "task_id": "t", "service": "s", "supersede": "{{ data.key }}"}
    routes = parse(json.dumps({"routes": [{"name": "r", "match": {"type": "*"}, "job": job}]}))

    def key(text: str) -> str:
        asked = event("x", {"key": text})
        (made,) = render_requests(choose(routes, asked), asked, LAUNCHER)
        return made.supersede

    long = "k" * 200_000
    assert key("short") == "short"
    assert len(key(long)) == 500
    assert key(long) == key(long) != key(f"{long}2")


def test_without_an_image_nothing_is_launched_and_it_says_what_to_set() -> None:
    asked = event("com.github.issue.labeled", ISSUE)
    choice = choose(parse(shipped_routes()), asked)
    with pytest.raises(RenderError, match="set JOB_IMAGE of job-launcher"):
        render_requests(choice, asked, LauncherSettings())


def test_an_agent_fills_no_disk() -> None:
    spec = manifest.job_of(request(environ={"JOB_STORAGE_LIMIT": "3Gi"}))["spec"]["template"][
        "spec"
    ]
    workspace = next(volume for volume in spec["volumes"] if volume["name"] == "workspace")
    assert workspace["emptyDir"] == {"sizeLimit": "3Gi"}


def test_the_page_about_images_names_what_a_pod_gets_and_shows_valid_outputs() -> None:
    page = (ROOT / "functions" / "agent_pod" / "README.md").read_text()
    asked = request()
    (container,) = manifest.job_of(asked)["spec"]["template"]["spec"]["containers"]
    names = {one["name"] for one in container["env"]} - set(asked.env)
    assert [n for n in sorted(names) if f"`{n}`" not in page and not n.startswith("EVENT_")] == []
    examples = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    examples += re.findall(r"`(\{\"nothing_to_do.*?\})`", page)
    assert len(examples) == 2
    for example in examples:
        outputs.parse(example)
