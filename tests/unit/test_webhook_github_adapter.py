"""The official adapter's table, one row per event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.kit import cloudevents
from functions.webhook_receiver.senders.github_adapter import adapt

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TIME = "2026-01-02T03:04:05Z"
THEN = "2020-02-02T20:20:20Z"
REPO = "https://api.github.com/repos/o/r"
USER = "https://api.github.com/users/u"
REPOSITORY = {"repository": {"url": REPO, "name": "r", "updated_at": THEN, "owner": {"url": USER}}}
A = {"action": "done"}

Case = tuple[str, dict[str, Any], tuple[str, str, str | None, str]]


def part(of: str, **fields: Any) -> dict[str, Any]:
    return {**A, **REPOSITORY, of: {"id": 1, "updated_at": THEN, **fields}}


CASES: list[Case] = [
    (
        "check_run",
        part("check_run", completed_at=THEN),
        (REPO, "check_run.done", "1", THEN),
    ),
    (
        "check_run",
        part("check_run", completed_at=None, started_at=THEN),
        (REPO, "check_run.done", "1", THEN),
    ),
    ("check_suite", part("check_suite"), (REPO, "check_suite.done", "1", THEN)),
    (
        "commit_comment",
        part("comment", url=f"{REPO}/comments/1", commit_id="abc"),
        (f"{REPO}/comments/1/abc", "commit_comment.done", "1", THEN),
    ),
    (
        "create",
        {**REPOSITORY, "ref_type": "tag", "ref": "v1"},
        (REPO, "create.tag", "v1", TIME),
    ),
    (
        "delete",
        {**REPOSITORY, "ref_type": "branch", "ref": "x"},
        (REPO, "delete.branch", "x", TIME),
    ),
    (
        "deploy_key",
        part("key", deleted_at=None, created_at=THEN),
        (REPO, "deploy_key.done", "1", THEN),
    ),
    ("deployment", part("deployment"), (REPO, "deployment", "1", THEN)),
    (
        "deployment_status",
        {**part("deployment_status", state="error", url="u"), "deployment": {"url": USER}},
        (USER, "deployment_status.error", "u", THEN),
    ),
    ("fork", part("forkee", url="f", created_at=THEN), (REPO, "fork", "f", THEN)),
    (
        "github_app_authorization",
        {**A, "sender": {"url": USER}},
        (USER, "github_app_authorization", None, TIME),
    ),
    ("gollum", {**REPOSITORY, "pages": []}, (REPO, "gollum", None, TIME)),
    (
        "installation",
        {**A, "installation": {"id": 5, "account": {"url": USER}, "updated_at": 1580674820}},
        (USER, "installation.done", "5", THEN),
    ),
    (
        "installation_repositories",
        {**A, "installation": {"id": 5, "account": {"url": USER}}},
        (USER, "installation_repository.done", "5", TIME),
    ),
    (
        "issue_comment",
        {**part("comment"), "issue": {"url": f"{REPO}/issues/7"}},
        (f"{REPO}/issues/7", "issue_comment.done", "1", THEN),
    ),
    ("issues", part("issue", number=7), (REPO, "issue.done", "7", THEN)),
    ("label", part("label", name="bug"), (REPO, "label.done", "bug", TIME)),
    (
        "marketplace_purchase",
        {
            **A,
            "sender": {"url": USER},
            "marketplace_purchase": {"account": {"login": "u"}},
            "effective_date": THEN,
        },
        ("https://api.github.com/users", "marketplace_purchase.done", "u", THEN),
    ),
    ("member", part("member", login="u"), (REPO, "member.done", "u", TIME)),
    (
        "membership",
        {**A, "scope": "team", "team": {"url": USER}, "member": {"login": "u"}},
        (USER, "membership.team.done", "u", TIME),
    ),
    (
        "meta",
        {**A, **REPOSITORY, "hook_id": 9, "hook": {"updated_at": THEN}},
        (REPO, "meta.done", "9", THEN),
    ),
    ("milestone", part("milestone", number=3), (REPO, "milestone.done", "3", THEN)),
    (
        "organization",
        {**A, "organization": {"url": USER}, "membership": {"user": {"login": "u"}}},
        (USER, "organization.done", "u", TIME),
    ),
    (
        "org_block",
        {**A, "organization": {"url": USER}, "blocked_user": {"login": "b"}},
        (USER, "org_block.done", "b", TIME),
    ),
    (
        "page_build",
        {**part("build", url="b"), "pusher": {"updated_at": THEN}},
        (REPO, "page_build", "b", THEN),
    ),
    ("ping", {"hook_id": 4, "organization": {"url": USER}}, (USER, "ping", "4", TIME)),
    ("project_card", part("project_card"), (REPO, "project_card.done", "1", THEN)),
    ("public", REPOSITORY, (USER, "public", "r", THEN)),
    (
        "pull_request",
        {**part("pull_request"), "number": 8},
        (REPO, "pull_request.done", "8", THEN),
    ),
    (
        "pull_request_review",
        {**part("review", submitted_at=THEN), "pull_request": {"url": f"{REPO}/pulls/8"}},
        (f"{REPO}/pulls/8", "pull_request_review.done", "1", THEN),
    ),
    (
        "pull_request_review_comment",
        {**part("comment"), "pull_request": {"url": USER, "updated_at": THEN}},
        (USER, "pull_request_review_comment.done", "1", THEN),
    ),
    ("push", {**REPOSITORY, "ref": "refs/heads/m"}, (REPO, "push", "refs/heads/m", TIME)),
    (
        "registry_package",
        part("registry_package", html_url="h"),
        (REPO, "registry_package.done", "h", THEN),
    ),
    (
        "release",
        {**part("release", published_at=THEN), "action": "published"},
        (REPO, "release.published", "1", THEN),
    ),
    ("repository", {**A, **REPOSITORY}, (USER, "repository.done", "r", THEN)),
    ("repository_import", REPOSITORY, (USER, "repository_import", "r", THEN)),
    (
        "security_advisory",
        {**A, "security_advisory": {"ghsa_id": "GHSA-1", "updated_at": THEN}},
        ("github.com", "security_advisory.done", "GHSA-1", THEN),
    ),
    ("star", {**A, **REPOSITORY, "starred_at": THEN}, (REPO, "star.done", None, THEN)),
    (
        "status",
        {**REPOSITORY, "state": "success", "sha": "abc", "updated_at": THEN},
        (REPO, "status.success", "abc", THEN),
    ),
    ("team_add", {**REPOSITORY, "team": {"id": 2}}, (REPO, "team_add", "2", TIME)),
    ("watch", {**A, **REPOSITORY}, (REPO, "watch.done", None, TIME)),
    ("discussion", part("discussion", number=6), (REPO, "discussion.done", "6", THEN)),
    ("workflow_job", part("workflow_job"), (REPO, "workflow_job.done", "1", THEN)),
    ("not_yet_invented", {}, ("github.com", "not_yet_invented", None, TIME)),
]


@pytest.mark.parametrize(("event", "payload", "expected"), CASES, ids=[case[0] for case in CASES])
def test_an_event_has_the_attributes_that_the_adapter_says(
    event: str, payload: dict[str, Any], expected: tuple[str, str, str | None, str]
) -> None:
    found = adapt(event, payload, NOW)

    source, kind, subject, time = expected
    assert (found.source, found.type, found.subject) == (source, f"com.github.{kind}", subject)
    assert cloudevents.parse_time(found.time) == cloudevents.parse_time(time)


@pytest.mark.parametrize(
    "payload",
    [
        {"action": ["a"], "issue": 5, "repository": "r"},
        {"action": "a b\0\ud800\n", "issue": {"number": "\ud800\0\n", "updated_at": "2026-13-01"}},
        {"action": True, "issue": {"number": 10**40, "updated_at": 10**30}},
        {"repository": {"url": "javascript:alert(1)"}, "issue": {"updated_at": -1}},
        {"repository": {"url": "https://x/%zz"}, "issue": {"number": None}},
    ],
    ids=["wrong types", "wrong characters", "too large", "no URL", "bad escape"],
)
def test_whatever_a_payload_holds_the_event_is_valid(payload: dict[str, Any]) -> None:
    found = adapt("issues", payload, NOW)

    message = cloudevents.Message("1", found.source, found.type, b"", found.subject, found.time)
    headers, body = cloudevents.encode(message)
    assert (
        cloudevents.decode([(n.encode(), v.encode("ascii")) for n, v in headers], body) == message
    )
