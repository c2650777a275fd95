"""Each way to patch an object, and what does not fit."""

from __future__ import annotations

import httpx
import pytest

from tests.support.kube_server import (
    CONFIG_MAPS,
    config_map,
)


@pytest.mark.parametrize(
    ("kind", "change", "data"),
    [
        ("application/merge-patch+json", {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        ("application/strategic-merge-patch+json", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
        (
            "application/json-patch+json",
            [
                {"op": "test", "path": "/data/a", "value": "1"},
                {"op": "move", "from": "/data/a", "path": "/data/c"},
                {"op": "add", "path": "/data/b", "value": "2"},
            ],
            {"b": "2", "c": "1"},
        ),
        ("application/apply-patch+yaml", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
    ],
)
async def test_a_patch_changes_what_it_names(
    client: httpx.AsyncClient, kind: str, change: object, data: dict[str, str]
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    answer = await client.patch(f"{CONFIG_MAPS}/conf", json=change, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["data"]) == (200, data)


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("application/json-patch+json", {"data": {}}, 400),
        ("application/json-patch+json", [{"op": "remove", "path": "/data/none"}], 422),
        ("application/json-patch+json", [{"op": "test", "path": "/data/a", "value": "9"}], 422),
        ("application/merge-patch+json", [1], 400),
        ("application/json", {"data": {}}, 415),
        ("application/merge-patch+json", {"metadata": {"uid": "other"}}, 409),
        ("application/merge-patch+json", {"metadata": {"resourceVersion": "1"}}, 409),
    ],
)
async def test_a_patch_that_does_not_fit_is_refused(
    client: httpx.AsyncClient, kind: str, change: object, code: int
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    answer = await client.patch(f"{CONFIG_MAPS}/conf", json=change, headers={"content-type": kind})
    assert answer.status_code == code, answer.text


async def test_server_side_apply_creates_what_is_not_there(client: httpx.AsyncClient) -> None:
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {a: '1'}\n"
    for code in (201, 200):
        answer = await client.patch(
            f"{CONFIG_MAPS}/conf?fieldManager=me",
            content=yaml,
            headers={"content-type": "application/apply-patch+yaml"},
        )
        assert (answer.status_code, answer.json()["data"]) == (code, {"a": "1"})
