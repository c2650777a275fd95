"""What the API refuses, and the words in which it does."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.support.kube_server import (
    CONFIG_MAPS,
    JOBS,
    PING_SOURCES,
    PODS,
    config_map,
    job,
    ping_source,
)

LONG = "x" * 64


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason", "expected_text"),
    [
        ("GET", f"{JOBS}/none", None, 404, "NotFound", 'jobs.batch "none" not found'),
        ("DELETE", f"{JOBS}/none", None, 404, "NotFound", 'jobs.batch "none" not found'),
        ("PUT", f"{JOBS}/none", job("none"), 404, "NotFound", 'jobs.batch "none" not found'),
        ("GET", "/apis/batch/v1/namespaces/dsm/cronjobs", None, 404, "NotFound", "requested"),
        ("GET", "/nowhere", None, 404, "NotFound", "requested resource"),
        (
            "POST",
            "/apis/batch/v1/namespaces/nope/jobs",
            job(),
            404,
            "NotFound",
            'namespaces "nope" not found',
        ),
        ("POST", CONFIG_MAPS, config_map("taken"), 409, "AlreadyExists", "already exists"),
        ("POST", JOBS, job("Upper"), 422, "Invalid", "RFC 1123"),
        ("POST", JOBS, job(LONG), 422, "Invalid", "no more than 63"),
        ("POST", JOBS, {"metadata": {"name": "a"}}, 422, "Invalid", "containers: Required value"),
        ("POST", JOBS, {"spec": {}}, 422, "Invalid", "name or generateName is required"),
        (
            "POST",
            JOBS,
            job("a", pod={"restartPolicy": "Always"}),
            422,
            "Invalid",
            'restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never"',
        ),
        ("POST", JOBS, job("a", parallelism=2), 422, "Invalid", "only 1 is supported"),
        ("POST", JOBS, job("a", completions=3), 422, "Invalid", "only 1 is supported"),
        ("POST", JOBS, job("a", backoffLimit=-1), 422, "Invalid", "greater than or equal to 0"),
        ("POST", JOBS, job("a", backoffLimit="6"), 400, "BadRequest", "cannot unmarshal string"),
        ("POST", JOBS, job("a", podFailurePolicy={}), 422, "Invalid", "not supported"),
        (
            "POST",
            JOBS,
            job("a", pod={"container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}}),
            422,
            "Invalid",
            'volumeMounts[0].name: Not found: "v"',
        ),
        (
            "POST",
            CONFIG_MAPS,
            config_map("a", labels={"l": "no spaces"}),
            422,
            "Invalid",
            "a valid label",
        ),
        (
            "POST",
            CONFIG_MAPS,
            {"metadata": {"name": "a"}, "data": {"k": 1}},
            400,
            "BadRequest",
            "number",
        ),
        ("POST", CONFIG_MAPS, job(), 400, "BadRequest", "does not match the expected"),
        (
            "POST",
            CONFIG_MAPS,
            config_map("a", namespace="agents"),
            400,
            "BadRequest",
            "does not match the namespace sent on the request",
        ),
        ("POST", CONFIG_MAPS, [1], 400, "BadRequest", "must be a JSON object"),
        ("POST", PODS, {"metadata": {"name": "a"}}, 405, "MethodNotAllowed", "does not allow"),
        ("PUT", CONFIG_MAPS, config_map(), 405, "MethodNotAllowed", "does not allow"),
        ("GET", f"{JOBS}?labelSelector=a~b", None, 400, "BadRequest", "unable to parse"),
        ("GET", f"{JOBS}?fieldSelector=spec.x=1", None, 400, "BadRequest", "not supported"),
        (
            "POST",
            PING_SOURCES,
            ping_source(schedule="@every 1s"),
            400,
            "BadRequest",
            "denied the request: validation failed: invalid value: the descriptor @every 1s",
        ),
        ("POST", PING_SOURCES, ping_source(timezone="Mars"), 400, "BadRequest", "Mars"),
        ("POST", PING_SOURCES, ping_source(schedule=5), 400, "BadRequest", "must be text, it is 5"),
        ("POST", PING_SOURCES, ping_source(shedule="x"), 400, "BadRequest", "schedule, perhaps"),
        (
            "POST",
            PING_SOURCES,
            ping_source(data="{", contentType="application/json"),
            400,
            "BadRequest",
            "spec.data",
        ),
    ],
)
async def test_a_refusal_is_a_status_with_code_reason_and_message(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: object,
    code: int,
    reason: str,
    expected_text: str,
) -> None:
    await client.post(CONFIG_MAPS, json=config_map("taken"))
    answer = await client.request(method, path, json=body)
    status = answer.json()
    assert (answer.status_code, status["code"], status["reason"]) == (code, code, reason)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert expected_text in status["message"]


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", CONFIG_MAPS, b"{"),
        ("POST", CONFIG_MAPS, b"\xff"),
        ("POST", CONFIG_MAPS, b'{"metadata": {"name": "a", "labels": {"x": NaN}}}'),
        ("POST", CONFIG_MAPS, b'{"metadata": {"name": "a"}, "data": {"x": "\\ud800"}}'),
        ("POST", CONFIG_MAPS, b"[" * 100_000),
        ("DELETE", f"{CONFIG_MAPS}/taken", b"[1]"),
        ("DELETE", f"{CONFIG_MAPS}/taken", b'{"preconditions": 1}'),
        ("DELETE", f"{CONFIG_MAPS}/taken", b'{"gracePeriodSeconds": []}'),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    await client.post(CONFIG_MAPS, json=config_map("taken"))
    answer = await client.request(method, path, content=content)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


async def test_a_body_over_three_mebibytes_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(CONFIG_MAPS, content=b" " * (3 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


async def test_an_invalid_object_names_every_wrong_field(client: httpx.AsyncClient) -> None:
    answer = await client.post(JOBS, json=job("a", backoffLimit=-1, parallelism=2))
    causes = answer.json()["details"]["causes"]
    assert {cause["field"] for cause in causes} == {"spec.backoffLimit", "spec.parallelism"}


SECRETS = CONFIG_MAPS.replace("configmaps", "secrets")
HALF_UTF8 = "ü" * 600_000  # 1.2 MB
BASE64 = base64.b64encode(bytes(900_000)).decode()  # 1.2 MB of text


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (CONFIG_MAPS, {"data": {"a": HALF_UTF8}}, 422),
        (CONFIG_MAPS, {"data": {"a": HALF_UTF8[:500_000]}}, 201),
        (CONFIG_MAPS, {"binaryData": {"a": BASE64}}, 201),
        (CONFIG_MAPS, {"data": {"a": "x" * 200_000}, "binaryData": {"a": BASE64}}, 422),
        (SECRETS, {"data": {"a": BASE64}}, 201),
        (SECRETS, {"data": {"a": BASE64, "b": BASE64}}, 422),
    ],
)
async def test_the_bytes_of_what_is_held_count(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], code: int
) -> None:
    answer = await client.post(path, json={"metadata": {"name": "large"}, **body})
    assert answer.status_code == code
    assert ("Too long: may not be more than 1048576 bytes" in answer.text) is (code == 422)
