"""Ten thousand cases of odd headers and bodies: no 5xx, and nothing unproven is stored."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions.webhook_receiver.main import webhook_receiver
from functions.webhook_receiver.senders import github_proof, grafana_proof, standard_webhooks
from tests.support import webhook_requests as make
from tests.support.cluster import App, Cluster

Headers = list[tuple[bytes, bytes]]

CASES = 10_000
NAMES = [
    *(b"x-github-event", b"x-github-delivery", b"x-hub-signature-256", b"x-hub-signature"),
    *(b"x-grafana-alerting-signature", b"x-grafana-alerting-timestamp"),
    *(b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
    *(b"content-type", b"content-length", b"authorization", b"traceparent", b"ce-type", b"ce-id"),
]
PATHS = ["/webhook/github", "/webhook/grafana", "/webhook/pm", "/webhook/cli"]
OTHER_PATHS = [
    *("/", "/deliveries", "/deliveries/d/redeliver", "/webhook/", "/webhook/x", "/nothing"),
    *("/deliveries/\0/redeliver", "/webhook/github/", "//"),
]

numbers = itertools.count()
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
# Keys that are read somewhere, so that odd values reach what reads them.
KEYS = [
    *(
        "action",
        "issue",
        "number",
        "pull_request",
        "repository",
        "url",
        "full_name",
        "organization",
    ),
    *("sender", "label", "name", "ref", "ref_type", "state", "updated_at", "installation"),
    *("account", "comment", "commit_id", "status", "alerts", "labels", "fingerprint", "startsAt"),
    *("groupKey", "receiver", "externalURL", "task", "id", "title", "service", "microservice"),
    *("project_id", "metadata", "description", "acceptance_criteria", "priority", "command"),
    *("args", "options", "follow", "job", "reason"),
]
TEXTS = [
    *("firing", "resolved", "create_task", "update_task", "get_task_status", "cancel_task"),
    *("list_jobs", "get_job", "get_job_logs", "cancel_job", "labeled", "2026-01-01T00:00:00Z"),
    *("https://x/y", "high"),
]
value = st.sampled_from(TEXTS) | json_value
document = st.dictionaries(
    st.sampled_from(KEYS),
    value
    | st.dictionaries(st.sampled_from(KEYS), value, max_size=5)
    | st.lists(st.dictionaries(st.sampled_from(KEYS), value, max_size=4), max_size=3),
    max_size=8,
)
body = st.one_of(
    document.map(lambda found: json.dumps(found).encode()),
    json_value.map(lambda found: json.dumps(found).encode()),
    document.map(lambda found: b"payload=" + json.dumps(found).encode()),
    st.binary(max_size=200),
    st.sampled_from([b"", b"[" * 5000, b'{"action":"\\ud800"}', b'{"action":' + b"9" * 5000]),
)
# What a server lets through in a header's value: no line ends, no NUL.
header_value = st.one_of(
    st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b not in b"\r\n\0")),
    st.sampled_from(
        [
            *(b"issues", b"ping", b"push", b"application/x-www-form-urlencoded", b"0", b"-1"),
            *(b"99999999999999999999", b"sha256=", b"v1,", b"v1,====", b"Bearer x", b"1e9"),
            b"sha256=" + b"0" * 64,
        ]
    ),
)
# The second request of a case: signed, or this method at that path, which is its own where empty.
Way = tuple[str, str]
SIGNED: Way = ("POST", "signed")
METHODS = ["GET", "POST", "PUT", "HEAD"]
ways = st.just(SIGNED) | st.tuples(st.sampled_from(METHODS), st.sampled_from(["", *OTHER_PATHS]))
header = st.tuples(st.sampled_from(NAMES) | st.binary(min_size=1, max_size=10), header_value)
headers = st.lists(header, max_size=8)


async def send(app: App, method: str, path: str, headers: Headers, body: bytes) -> int:
    """One request as ASGI; returns the status."""
    sent: list[Any] = []
    parts = [
        {"type": "http.request", "body": body[:50], "more_body": True},
        {"type": "http.request", "body": body[50:], "more_body": False},
    ]

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def answer(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"limit=" + body[:5],
        "headers": headers,
        "server": ("testserver", 80),
        "scheme": "http",
    }
    await app(scope, receive, answer)
    return int(sent[0]["status"])


def signed(path: str, given: Headers, body: bytes) -> Headers:
    """The headers with a true signature, so that the odd body is read."""
    extra: dict[str, str]
    id = f"fuzz-{next(numbers)}"
    match path.rpartition("/")[2]:
        case "github":
            extra = {
                "x-hub-signature-256": github_proof.sign(make.GITHUB.encode(), body),
                "x-github-event": "issues",
                "x-github-delivery": id,
            }
        case "grafana":
            extra = {
                "x-grafana-alerting-signature": grafana_proof.sign(make.GRAFANA.encode(), body)
            }
        case source:
            key = standard_webhooks.key({"pm": make.PM, "cli": make.CLI}[source])
            extra = standard_webhooks.headers(key, id, int(make.NOW.timestamp()), body)
    # The first of a name counts: now and then an odd header takes the place of a true one.
    own = [(name.encode(), text.encode()) for name, text in extra.items()]
    ids = (b"x-github-delivery", b"webhook-id", b"x-grafana-alerting-timestamp")
    odd = [pair for pair in given if pair[0] not in ids]
    return [*own, *odd] if len(given) % 4 else [*odd, *own]


@contextmanager
def its_own_loop() -> Iterator[asyncio.Runner]:
    """Hypothesis calls plain functions; they share one loop and its connections."""
    with asyncio.Runner() as runner:
        yield runner


async def _launcher(scope: Any, receive: Any, send: Any) -> None:
    """Answers every question."""
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_ten_thousand_cases_none_is_answered_with_5xx_and_nothing_unproven_is_stored(
    webhook_database: str,
) -> None:
    """Each case is sent twice: without a proof, then signed, by another method, or elsewhere."""
    statuses: Counter[int] = Counter()
    cases = 0
    with its_own_loop() as runner:
        cluster = Cluster()
        cluster.add("job-launcher", _launcher)
        cluster.deploy(
            webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS}, now=make.clock
        )
        app = cluster.apps["webhook-receiver"]

        async def twice(path: str, way: Way, given: Headers, body: bytes) -> None:
            unproven = await send(app, "POST", path, given, body)
            assert unproven in (400, 401, 413), f"nobody proved {path} {given!r}"
            if way == SIGNED:
                status = await send(app, "POST", path, signed(path, given, body), body)
            else:
                method, elsewhere = way
                status = await send(app, method, elsewhere or path, given, body)
            assert status < 500, f"{path} {way} {given!r}"
            statuses.update((unproven, status))

        @settings(
            max_examples=CASES // len(PATHS),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(way=ways, given=headers, body=body)
        def each_sender(way: Way, given: Headers, body: bytes) -> None:
            """Drawing one takes longer than its four cases."""
            nonlocal cases
            for path in PATHS:
                cases += 1
                runner.run(twice(path, way, given, body))

        each_sender()
        runner.run(cluster.close())
        stored = runner.run(_stored(webhook_database))
    assert cases >= CASES, f"there are only {cases} different cases"
    assert {202, 400, 401, 404, 405} <= set(statuses), statuses
    assert stored, "signed requests are stored"
    assert all(id.startswith("fuzz-") for id in stored), "only they had such ids"


async def _stored(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT DISTINCT id FROM delivery WHERE source <> 'grafana'")
    await connection.close()
    return {row["id"] for row in rows}
