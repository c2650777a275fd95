"""The store of the local Kubernetes API: what its listeners get."""

from __future__ import annotations

from pathlib import Path

from knative.local.kube.store import Change, Key, Object, Store


def body(name: str) -> Object:
    return {"kind": "PingSource", "metadata": {"name": name, "uid": name}}


def test_a_listener_that_fails_keeps_no_change_from_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "kube.sqlite")
    heard: list[str] = []

    def fails(change: Change) -> None:
        raise ValueError(change.key.name)

    store.listen(fails)
    store.listen(lambda change: heard.append(change.key.name))
    for name in ("one", "two"):
        store.put(Key("PingSource", "dsm", name), body(name))
    store.close()
    assert heard == ["one", "two"]
