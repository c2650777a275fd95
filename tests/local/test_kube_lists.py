"""Lists: selectors, pages, namespaces."""

from __future__ import annotations

import httpx
import pytest

from tests.support.kube_server import (
    CONFIG_MAPS,
    PING_SOURCES,
    config_map,
    ping_source,
)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=app=dsm", ["a", "b"]),
        ("labelSelector=app!=dsm", ["c", "d"]),
        ("labelSelector=app", ["a", "b", "c"]),
        ("labelSelector=!app", ["d"]),
        ("labelSelector=app in (dsm,other),tier=1", ["a", "c"]),
        ("labelSelector=tier notin (1)", ["b", "d"]),
        ("fieldSelector=metadata.name=b", ["b"]),
        ("fieldSelector=metadata.name!=b,metadata.namespace=dsm", ["a", "c", "d"]),
        ("labelSelector=app=dsm&fieldSelector=metadata.name=b", ["b"]),
    ],
)
async def test_a_list_keeps_to_its_selectors(
    client: httpx.AsyncClient, query: str, names: list[str]
) -> None:
    for name, labels in {
        "a": {"app": "dsm", "tier": "1"},
        "b": {"app": "dsm"},
        "c": {"app": "other", "tier": "1"},
        "d": {},
    }.items():
        await client.post(CONFIG_MAPS, json=config_map(name, labels=labels))
    body = (await client.get(f"{CONFIG_MAPS}?{query}")).json()
    assert body["kind"] == "ConfigMapList"
    assert [one["metadata"]["name"] for one in body["items"]] == names


async def test_a_long_list_comes_in_pages(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post(CONFIG_MAPS, json=config_map(f"c{number}"))
    names: list[str] = []
    params: dict[str, str] = {"limit": "2"}
    while True:
        body = (await client.get(CONFIG_MAPS, params=params)).json()
        names += [one["metadata"]["name"] for one in body["items"]]
        if "continue" not in body["metadata"]:
            break
        params["continue"] = body["metadata"]["continue"]
    assert names == [f"c{number}" for number in range(5)]


async def test_a_list_without_namespace_has_all_namespaces(client: httpx.AsyncClient) -> None:
    for namespace in ("dsm", "agents"):
        await client.post(f"/api/v1/namespaces/{namespace}/configmaps", json=config_map())
    body = (await client.get("/api/v1/configmaps")).json()
    assert [one["metadata"]["namespace"] for one in body["items"]] == ["agents", "dsm"]


async def test_items_of_a_list_have_their_type_only_in_custom_resources(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    await client.post(PING_SOURCES, json=ping_source())
    (built_in,) = (await client.get(CONFIG_MAPS)).json()["items"]
    (custom,) = (await client.get(PING_SOURCES)).json()["items"]
    assert "kind" not in built_in
    assert custom["kind"] == "PingSource"
