"""A routes file is read strictly: every problem has its line and field."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from functions.job_launcher.routes.check import main
from functions.job_launcher.routes.route_file import BadRoutes, load, parse
from functions.job_launcher.routes.source import RoutesSource
from tests.support.job_world import PYTHON_ROUTES, ROOT, shipped_routes

ROUTE = """\
version: 1
routes:
  - name: a
    match:
      type: test.run
    job:
      kind: execute
      task_id: t
      service: s
"""


@pytest.fixture(autouse=True)
def _image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line reads the launcher's settings."""
    monkeypatch.setenv("JOB_IMAGE", "ghcr.io/acme/agent:1")
    monkeypatch.setenv("WORKSPACE_IMAGE", "ghcr.io/acme/dsm-functions:1")


def also(line: str) -> tuple[str, str]:
    """One more field of the Job."""
    return "service: s", f"service: s\n      {line}"


@pytest.mark.parametrize(
    "line",
    [
        *("ttl_seconds: 0", "retries: 3", 'deadline_seconds: "{{ data.deadline }}"'),
        *("image: agent", "image: ghcr.io/acme/agent:1", "image: localhost:5000/a/b_c:x.y"),
        f"image: acme/agent@sha256:{'0' * 64}",
        *("resources: {limits: {cpu: 0.5, memory: 512Mi}}", "resources: {limits: {cpu: 500m}}"),
        *("resources: {requests: {cpu: 2, memory: 1G}}", "group: g\n      group_limit: 1"),
        "secrets: {A: {secret: my.secret-1, key: tls.crt}}",
    ],
)
def test_what_kubernetes_takes_is_taken(line: str) -> None:
    assert parse(ROUTE.replace(*also(line)), "r")


def test_a_problem_in_a_manifest_has_the_line_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = "".join(f"    {line}\n" for line in ROUTE.replace("execute", "dance").splitlines())
    manifest = tmp_path / "m.yaml"
    manifest.write_text(f"kind: Service\n---\nkind: ConfigMap\ndata:\n  routes.yaml: |\n{block}")

    assert main(["check", str(manifest)]) == 1

    number = manifest.read_text().splitlines().index("          kind: dance") + 1
    assert f"{manifest}:{number}: routes.0.job.kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("kind: execute", "kind: dance"), "r:7: routes.0.job.kind: Input should be"),
        (
            ("task_id: t", "task_id: '{{ data.x'"),
            "r:8: routes.0.job.task_id: unexpected end of template",
        ),
        (
            ("type: test.run", "type: test.run\n      actor: acme/maintainers"),
            "r:6: routes.0.match.actor: 'acme/maintainers' is a team: give it as team",
        ),
        (
            ("type: test.run", "type: test.run\n      team: [maintainers]"),
            "r:6: routes.0.match.team.0: 'maintainers' is no team such as acme/maintainers",
        ),
        (("service: s", "servise: s"), "r:9: routes.0.job.servise: no such field"),
        (("service: s", "x: 1"), "r:6: routes.0.job.service: Field required"),
        (("type: test.run", "type: []"), "r:5: routes.0.match.type: Value should have at least"),
        (("    job:", "    ignore: why\n    job:"), "r:3: routes.0: give either job or ignore"),
        (("version: 1", "budgets: [{group: g}]"), "r:1: budgets.0: give usd, tokens or minutes"),
        (
            ("version: 1", "budgets: [{group: g, usd: 1, time_zone: Mars/Olympus}]"),
            "r:1: budgets.0.time_zone: 'Mars/Olympus' is no time zone",
        ),
        (("version: 1", "budgets: [{group: g, usd: 0}]"), "r:1: budgets.0.usd: Input should be"),
        (also("approval: {before: end}"), "r:10: routes.0.job.approval.before.0: Input should be"),
        (
            also("approval: {before: outputs}"),
            "r:6: routes.0.job: approval before outputs requires",
        ),
        (("name: a", "name: A b"), "r:3: routes.0.name: String should match pattern"),
        (("service: s", "service: s\n      task_id: u"), "r:10: duplicate key task_id"),
        (("version: 1", "version: 2"), "r:1: version: Input should be 1"),
        (("service: s", "env: {1x: y}\n      service: s"), "r:9: routes.0.job.env.1x: String"),
        (("routes:", "routes: ["), "r:3:"),
        (("    match:", "    each: data.x | y\n    match:"), "r:4: routes.0.each: 'data.x | y' is"),
        (("    match:", '    each: ""\n    match:'), "r:4: routes.0.each: '' is no path"),
        (also("ttl_seconds: half an hour"), "r:10: routes.0.job.ttl_seconds: 'half an hour' is no"),
        (also("retries: -1"), "r:10: routes.0.job.retries: '-1' is no whole number from 0"),
        (also("deadline_seconds: 0"), "r:10: routes.0.job.deadline_seconds: '0' is no"),
        (also("image: Not An Image"), "r:10: routes.0.job.image: 'Not An Image' is no image"),
        (
            also("resources: {limits: {memory: 8 GB}}"),
            "r:10: routes.0.job.resources.limits.memory: '8 GB' is no quantity",
        ),
        (
            also('secrets: {A: {secret: "Bad Name!", key: k}}'),
            "r:10: routes.0.job.secrets.A.secret: String should match",
        ),
        (
            also('secrets: {A: {secret: s, key: "k k"}}'),
            "r:10: routes.0.job.secrets.A.key: String should match",
        ),
        (
            ("task_id: t", 'task_id: "{{ dta.task }}"'),
            "r:8: routes.0.job.task_id: dta is undefined: a path begins with data",
        ),
        (
            ("task_id: t", 'task_id: "{{ data.task | default(dta.x) }}"'),
            "r:8: routes.0.job.task_id: dta is undefined",
        ),
        (also("group_limit: 1"), "r:6: routes.0.job: group_limit requires group"),
        (also("pod: {runtimeclass: x}"), "r:10: routes.0.job.pod.runtimeclass: no such field"),
        (also("pod: {queue: A_b}"), "r:10: routes.0.job.pod.queue: String should match"),
        (also("pod: {node_selector: {pool: 1}}"), "r:10: routes.0.job.pod.node_selector.pool: In"),
        (also("pod: {node_selector: {-a: b}}"), "r:10: routes.0.job.pod.node_selector.-a: Strin"),
        (also("pod: {tolerations: [{key: a, effect: Never}]}"), "r:10: routes.0.job.pod.tolerat"),
        (
            also("pod: {tolerations: [{value: b}]}"),
            "r:10: routes.0.job.pod.tolerations.0: without key the operator is Exists",
        ),
        (("task_id: t", 'task_id: "{{ item.id }}"'), "r:3: routes.0: item and items require each"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_problem_has_its_line_and_field(change: tuple[str, str], problem: str) -> None:
    with pytest.raises(BadRoutes) as caught:
        parse(ROUTE.replace(*change), "r")
    assert any(line.startswith(problem) for line in str(caught.value).splitlines())


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(BadRoutes) as caught:
        parse(ROUTE.replace("execute", "dance").replace("service", "servise"), "r")
    assert len(str(caught.value).splitlines()) == 3


def test_a_variable_is_either_plain_or_secret() -> None:
    both = "env: {A: x}\n      secrets: {A: {secret: s, key: k}}\n      service: s"
    with pytest.raises(BadRoutes, match="A is in env and in secrets"):
        parse(ROUTE.replace("service: s", both))


def test_a_file_is_either_plain_or_secret() -> None:
    both = "files: {a: x}\n      secret_files: {a: {secret: s, key: k}}\n      service: s"
    with pytest.raises(BadRoutes, match="a is in files and in secret_files"):
        parse(ROUTE.replace("service: s", both))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRoutes, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_a_changed_file_is_taken_and_a_wrong_change_refused(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTE)
    source = RoutesSource(path)
    assert [route.name for route in source.routes()] == ["a"]

    path.write_text(ROUTE.replace("name: a", "name: better"))
    os.utime(path, ns=(1, 1))
    assert [route.name for route in source.routes()] == ["better"]

    path.write_text("routes: 7")
    assert [route.name for route in source.routes()] == ["better"]
    assert "routes.yaml:1: routes" in source.refused


def test_the_shipped_routes_are_right() -> None:
    names = [route.name for route in parse(shipped_routes())]
    assert names == [
        "issue-labelled-agent",
        "pull-request-reviewed",
        "review-labelled",
        "review-requested",
        "alert-of-a-task",
        "task-requested",
    ]


@pytest.fixture
def event(tmp_path: Path) -> Path:
    path = tmp_path / "event.json"
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": "test.run", "data": {}}
    path.write_text(json.dumps(document))
    return path


def test_check_says_what_would_happen(
    event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(ROUTE)
    assert main(["check", str(tmp_path / "r.yaml"), "--event", str(event), "--json"]) == 0
    received = json.loads(capsys.readouterr().out)
    assert (received["route"], received["outcome"]) == ("a", "jobs")
    assert [job["task_id"] for job in received["jobs"]] == ["t"]


def test_check_says_why_the_other_routes_did_not_match(
    event: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = str(ROOT / "knative/base/functions/job-launcher.yaml")
    assert main(["check", shipped, "--event", str(event)]) == 0
    received = capsys.readouterr().out
    assert "issue-labelled-agent: type is test.run, not com.github.issue.labeled" in received
    assert "ignored: no route matches" in received


def test_check_says_what_the_event_lacks(
    event: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(PYTHON_ROUTES)
    assert main(["check", str(tmp_path / "r.yaml"), "--event", str(event)]) == 1
    assert "refused by route run: route run: task_id: the event has no" in capsys.readouterr().out


def test_check_fails_with_the_problems_of_a_wrong_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(ROUTE.replace("execute", "dance"))
    assert main(["check", str(tmp_path / "r.yaml")]) == 1
    assert "r.yaml:7: routes.0.job.kind" in capsys.readouterr().err
