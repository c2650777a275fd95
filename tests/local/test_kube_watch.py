"""Watches and followed logs: streams that begin where the client says and end when they should."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from knative.local.kube import store as kube_store
from tests.support import eventually
from tests.support.kube_server import CONFIG_MAPS, JOBS, PODS, job, kube_client, pods_of, python


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with kube_client(tmp_path) as client:
        yield client


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "data": {}}


async def watched(client: httpx.AsyncClient, count: int, **params: str) -> list[tuple[str, str]]:
    """The first `count` changes of a watch as (type, name)."""
    changes = [change async for change in lines(client, count, **params)]
    return [(one["type"], one["object"]["metadata"]["name"]) for one in changes]


async def lines(
    client: httpx.AsyncClient, count: int, **params: str
) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("GET", CONFIG_MAPS, params={"watch": "true", **params}) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            yield json.loads(line)
            count -= 1
            if count == 0:
                return


async def test_a_watch_begins_with_what_is_there(client: httpx.AsyncClient) -> None:
    for name in ("a", "b"):
        await client.post(CONFIG_MAPS, json=config_map(name))
    assert await watched(client, 2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_from_a_version_has_only_what_came_after(client: httpx.AsyncClient) -> None:
    await client.post(CONFIG_MAPS, json=config_map("a"))
    since = (await client.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
    await client.post(CONFIG_MAPS, json=config_map("b"))
    patch = {"data": {"x": "1"}}
    headers = {"content-type": "application/merge-patch+json"}
    await client.patch(f"{CONFIG_MAPS}/b", json=patch, headers=headers)
    await client.delete(f"{CONFIG_MAPS}/a")
    assert await watched(client, 3, resourceVersion=since) == [
        ("ADDED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "a"),
    ]


async def test_an_object_enters_and_leaves_a_watch_with_its_labels(
    client: httpx.AsyncClient,
) -> None:
    since = (await client.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
    headers = {"content-type": "application/merge-patch+json"}
    await client.post(CONFIG_MAPS, json=config_map("a"))
    for value in ("yes", "no"):
        patch = {"metadata": {"labels": {"seen": value}}}
        await client.patch(f"{CONFIG_MAPS}/a", json=patch, headers=headers)
    assert await watched(client, 2, resourceVersion=since, labelSelector="seen=yes") == [
        ("ADDED", "a"),
        ("DELETED", "a"),
    ]


async def test_a_version_that_is_too_old_is_gone(tmp_path: Path) -> None:
    async with kube_client(tmp_path) as client:
        await client.post(CONFIG_MAPS, json=config_map("a"))
    async with kube_client(tmp_path) as client:
        (error,) = [change async for change in lines(client, 1, resourceVersion="1")]
    assert error["type"] == "ERROR"
    assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")


async def test_a_version_from_before_a_quiet_restart_still_works(tmp_path: Path) -> None:
    async with kube_client(tmp_path) as client:
        await client.post(CONFIG_MAPS, json=config_map("a"))
        since = (await client.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
    async with kube_client(tmp_path) as client:
        await client.post(CONFIG_MAPS, json=config_map("b"))
        assert await watched(client, 1, resourceVersion=since) == [("ADDED", "b")]


async def test_a_version_of_the_future_is_a_timeout(client: httpx.AsyncClient) -> None:
    answer = await client.get(CONFIG_MAPS, params={"watch": "1", "resourceVersion": "999999"})
    assert answer.status_code == 504
    assert "Too large resource version" in answer.json()["message"]


async def test_a_watch_ends_at_its_timeout(client: httpx.AsyncClient) -> None:
    answer = await client.get(CONFIG_MAPS, params={"watch": "1", "timeoutSeconds": "1"})
    assert (answer.status_code, answer.text) == (200, "")


async def test_a_watcher_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    async with kube_client(tmp_path) as client:
        await client.post(CONFIG_MAPS, json=config_map("a"))
        assert await watched(client, 1) == [("ADDED", "a")]
        await client.post(CONFIG_MAPS, json=config_map("b"))
        assert await watched(client, 2) == [("ADDED", "a"), ("ADDED", "b")]


def test_the_history_is_bounded(tmp_path: Path) -> None:
    store = kube_store.Store(tmp_path / "kube.sqlite")
    key = kube_store.Key("ConfigMap", "dsm", "a")
    for number in range(kube_store.HISTORY + 10):
        with store.together():
            store.put(key, {"metadata": {"name": "a", "uid": "u"}, "data": number})
    assert len(store.history) == kube_store.HISTORY
    assert store.oldest == store.version - kube_store.HISTORY
    store.close()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "0\n1\n2\n3\n4\n"),
        ("tailLines=2", "3\n4\n"),
        ("tailLines=99", "0\n1\n2\n3\n4\n"),
        ("tailLines=0", ""),
        ("limitBytes=3", "0\n1"),
        ("tailLines=2&limitBytes=2", "3\n"),
        ("follow=true", "0\n1\n2\n3\n4\n"),
        ("container=main", "0\n1\n2\n3\n4\n"),
    ],
)
async def test_a_log_is_cut_as_asked(client: httpx.AsyncClient, query: str, text: str) -> None:
    await client.post(JOBS, json=job("one", *python("for n in range(5): print(n)")))

    async def ended() -> list[dict[str, Any]]:
        return [p for p in await pods_of(client) if p["status"]["phase"] == "Succeeded"]

    (pod,) = await eventually(ended)
    answer = await client.get(f"{PODS}/{pod['metadata']['name']}/log?{query}")
    assert (answer.status_code, answer.text) == (200, text)


@pytest.mark.parametrize(
    ("query", "code", "expected_text"),
    [
        ("container=other", 400, "container other is not valid for pod"),
        ("tailLines=x", 400, "tailLines"),
        ("timestamps=true", 400, "timestamps is not supported"),
        ("previous=true", 400, "previous terminated container"),
    ],
)
async def test_a_log_request_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, query: str, code: int, expected_text: str
) -> None:
    await client.post(JOBS, json=job("one"))

    async def ended() -> list[dict[str, Any]]:
        return [p for p in await pods_of(client) if p["status"]["phase"] == "Succeeded"]

    (pod,) = await eventually(ended)
    answer = await client.get(f"{PODS}/{pod['metadata']['name']}/log?{query}")
    assert answer.status_code == code
    assert expected_text in answer.json()["message"]
