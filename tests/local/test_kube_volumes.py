"""What a container is given: environment, files, and what its pod waits for."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import httpx

from tests.support import eventually
from tests.support.kube_server import (
    CONFIG_MAPS,
    conditions,
    config_map,
    finished,
    job,
    kube_client,
    log_of,
    pods_of,
    python,
    start,
)


async def test_environment_comes_from_values_config_maps_secrets_and_fields(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CONFIG_MAPS, json={"metadata": {"name": "conf"}, "data": {"A": "1"}})
    secret = {"metadata": {"name": "keys"}, "stringData": {"token": "s3cret"}}
    await client.post("/api/v1/namespaces/dsm/secrets", json=secret)
    container = {
        "command": list(python("import os; print(os.environ)")),
        "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "P_"}],
        "env": [
            {"name": "PLAIN", "value": "plain"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "JOINED", "value": "$(PLAIN)-$(P_A)-$$(PLAIN)"},
        ],
    }
    await start(client, job("one", pod={"container": container}))
    await finished(client)
    log = await log_of(client)
    for name, value in {
        "P_A": "1",
        "PLAIN": "plain",
        "TOKEN": "s3cret",
        "POD": "dsm",
        "JOINED": "plain-1-$(PLAIN)",
        "HTTP_PROXY": "http://gateway:1",
    }.items():
        assert f"'{name}': '{value}'" in log


async def test_a_pod_waits_for_the_config_map_it_needs(client: httpx.AsyncClient) -> None:
    container = {
        "command": list(python("import sys; print(open(sys.argv[1]).read())")),
        "args": ["/config/routes.yaml"],
        "volumeMounts": [{"name": "conf", "mountPath": "/config"}],
    }
    volumes = [{"name": "conf", "configMap": {"name": "routes"}}]
    await start(client, job("one", pod={"container": container, "volumes": volumes}))

    async def waiting() -> bool:
        pods = await pods_of(client)
        states = [s["state"] for p in pods for s in p["status"].get("containerStatuses", ())]
        return any("waiting" in s and "routes" in s["waiting"].get("message", "") for s in states)

    await eventually(waiting)
    body = {"metadata": {"name": "routes"}, "data": {"routes.yaml": "all: well"}}
    await client.post(CONFIG_MAPS, json=body)
    await finished(client)
    assert await log_of(client) == "all: well\n"


async def test_on_a_laptop_a_job_without_its_secret_is_recorded_and_says_how_to_make_it(
    tmp_path: Path,
) -> None:
    keys: list[dict[str, Any]] = [
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api", **optional}}}
        for optional in ({}, {"optional": True})
    ]
    container = {"command": ["claude"], "env": keys[:1]}
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho working with $K\n")
    program.chmod(0o755)

    def environment() -> dict[str, str]:
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "KUBECONFIG": "/data/kubeconfig"}

    options: dict[str, Any] = {"environment": environment, "waits_for_secrets": False}
    async with kube_client(tmp_path, **options) as client:
        await start(client, job("one", pod={"container": container}))
        await finished(client)
        output = await log_of(client)
        assert output == (
            "recorded only, not run: there is no Secret keys with the key api. Make it, and the "
            "next Job runs: kubectl --kubeconfig /data/kubeconfig -n dsm create secret generic "
            "keys --from-literal=api=...\n"
        )
        await start(client, job("two", pod={"container": {**container, "env": keys[1:]}}))
        await finished(client, "two")
        assert await log_of(client, "two") == "working with\n"
        secret = {"metadata": {"name": "keys"}, "stringData": {"api": "s3cret"}}
        await client.post("/api/v1/namespaces/dsm/secrets", json=secret)
        await start(client, job("three", pod={"container": container}))
        await finished(client, "three")
        assert await log_of(client, "three") == "working with s3cret\n"


async def test_init_containers_run_first_and_share_volumes(client: httpx.AsyncClient) -> None:
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    prepare = {
        "name": "prepare",
        "image": "busybox:1",
        "command": list(python("import sys; open(sys.argv[1], 'w').write('prepared')")),
        "args": ["/data/file"],
        **mount,
    }
    container = {
        "command": list(python("import os; print(open(os.environ['FILE']).read())")),
        "env": [{"name": "FILE", "value": "/data/file"}],
        **mount,
    }
    pod = {
        "container": container,
        "initContainers": [prepare],
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    await start(client, job("one", pod=pod))
    assert "Complete" in conditions(await finished(client))
    assert await log_of(client) == "prepared\n"


async def test_a_script_from_a_config_map_is_a_command(client: httpx.AsyncClient) -> None:
    body = {"metadata": {"name": "scripts"}, "data": {"run.sh": "#!/bin/sh\necho scripted\n"}}
    await client.post(CONFIG_MAPS, json=body)
    container = {
        "command": ["/scripts/run.sh"],
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
    }
    volumes = [{"name": "scripts", "configMap": {"name": "scripts", "defaultMode": 0o755}}]
    await start(client, job("one", pod={"container": container, "volumes": volumes}))
    await finished(client)
    assert await log_of(client) == "scripted\n"


async def test_a_projected_volume_has_files_of_config_maps_and_keys_of_secrets(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CONFIG_MAPS, json=config_map("task"))
    secret = {"metadata": {"name": "keys"}, "stringData": {"token": "s3cret", "other": "no"}}
    await client.post("/api/v1/namespaces/dsm/secrets", json=secret)
    chosen = {"name": "keys", "items": [{"key": "token", "path": "login"}]}
    absent = {"name": "keys", "items": [{"key": "none", "path": "none"}], "optional": True}
    unmounted = {"name": "nobody", "items": [{"key": "x", "path": "y"}], "optional": True}
    sources = [
        {"configMap": {"name": "task"}},
        *({"secret": s} for s in (chosen, absent, unmounted)),
    ]
    code = "import pathlib, sys\nfiles = pathlib.Path(sys.argv[1]).iterdir()\n"
    code += "print({file.name: file.read_text() for file in files})"
    container = {
        "command": list(python(code)),
        "args": ["/task"],
        "volumeMounts": [{"name": "task", "mountPath": "/task"}],
    }
    volumes = [{"name": "task", "projected": {"sources": sources}}]
    await start(client, job("one", pod={"container": container, "volumes": volumes}))
    await finished(client)
    assert ast.literal_eval(await log_of(client)) == {"a": "1", "login": "s3cret"}
