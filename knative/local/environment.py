"""What a container becomes on this machine: an argv, an environment, a working directory.

Values come as the kubelet resolves them. Three things differ, since a process shares the
machine's file system and network:
- a volume is a folder below the data directory; where an environment value, an argument or the
  working directory begins with the mountPath, that beginning becomes the folder;
- the host name of a v1 Service that stands for PostgreSQL becomes the socket's directory;
- HTTP_PROXY is the gateway, so that cluster host names work unchanged; its token says that the
  process is inside of the cluster. KUBECONFIG has that of the run, which a Job's pod gets unless
  it wants no token of its service account.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knative.local.kube.environment import expand_all, resolve
from knative.local.kube.machine import search_path
from knative.local.kube.volumes import mounts, rewrite, rewrite_all, write_volumes
from knative.local.manifests.core import ConfigMap, Job, Secret
from knative.local.manifests.images import Fork
from knative.local.manifests.load import World
from knative.local.manifests.meta import Manifest
from knative.local.manifests.problems import ManifestError
from knative.local.manifests.references import address, binds
from knative.local.manifests.serving import KnativeService
from knative.local.manifests.sources import SinkBinding

# Of the laptop's own environment a process sees these only, so that no secret of the shell leaks.
_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Launch:
    """A process to start."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    fork: Fork | None = None

    @property
    def gateway_token(self) -> str:
        return self.env.get("GATEWAY_TOKEN", "")


@dataclass(frozen=True)
class Site:
    """Where things are on this machine. `hosts` maps a cluster host to a socket directory.

    `gateway`: the proxy's URL with the token of processes. `clock_file`: what tells a virtual time.
    `gateway_token`: what the gateway shows a process, whose port any account may reach.
    """

    data: Path
    gateway: str
    kubeconfig: Path
    hosts: Mapping[str, Path]
    clock_file: Path | None = None
    gateway_token: str = ""

    def base_env(self) -> dict[str, str]:
        """What every process gets, whatever its container says."""
        env = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED_ON or name.startswith("OTEL_")
        }
        # Traces go to a collector on this machine: the gateway knows nothing of it.
        collector = urlsplit(env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")).hostname or ""
        proxy = {"HTTP_PROXY": self.gateway, "http_proxy": self.gateway}
        if self.clock_file is not None:
            env["CLOCK_FILE"] = str(self.clock_file)
        return (
            env
            | proxy
            | {
                "NO_PROXY": collector,
                "no_proxy": collector,
                "KUBECONFIG": str(self.kubeconfig),
                "NODE_USE_ENV_PROXY": "1",  # Node asks no proxy without it
                "PATH": search_path(env.get("PATH", os.defpath)),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
            }
        )

    def localised(self, value: str) -> str:
        """`value` with the host names of PostgreSQL replaced.

        In a URL the host becomes the percent-encoded socket directory, as libpq and asyncpg
        read it; a value that is nothing but the host becomes the directory.
        """
        for host, directory in self.hosts.items():
            if value == host and "." in host:
                return str(directory)
            head, scheme, tail = value.partition("://")
            if not scheme:
                continue
            authority, slash, path = tail.partition("/")
            user, at, place = authority.rpartition("@")
            name, colon, port = place.partition(":")
            if name == host:
                encoded = str(directory).replace("/", "%2F")
                return f"{head}://{user}{at}{encoded}{colon}{port}{slash}{path}"
        return value


def host_names(item: Manifest) -> list[str]:
    """Every name by which the Service `item` is called, the cluster's own first."""
    short = f"{item.name}.{item.namespace}"
    return [f"{short}.svc.cluster.local", f"{short}.svc", short, f"{short}.localhost"]


def launch(
    item: KnativeService, world: World, site: Site, port: int, generation: int = 1
) -> Launch:
    """How to start the container of `item`; `port` is what it is to listen on."""
    program = world.program(item)
    if program is None:
        raise ManifestError(list(world.unmapped))
    body = item.model_dump(by_alias=True, exclude_none=True)
    pod = body["spec"]["template"]
    pod["metadata"] |= {"namespace": item.namespace, "name": item.name}
    container = pod["spec"]["containers"][0]

    def lookup(kind: str, name: str) -> Mapping[str, Any] | None:
        holder: ConfigMap | Secret | None
        if kind == "ConfigMap":
            holder = world.get(ConfigMap, item.namespace, name)
        else:
            holder = world.get(Secret, item.namespace, name)
        return api_object(holder) if holder else None

    folder = site.data / "volumes" / item.namespace / item.name
    write_volumes(pod["spec"], folder, lookup)
    places = mounts(container, folder)
    own = {
        name: site.localised(rewrite(value, places))
        for name, value in resolve(container, pod, lookup).items()
    }
    env = site.base_env() | own | injected(item, world)
    revision = {"K_CONFIGURATION": item.name, "K_REVISION": f"{item.name}-{generation:05d}"}
    env |= {"PORT": str(port), "K_SERVICE": item.name} | revision
    # Whatever the manifest says: no other machine reaches a process here, and no page that has
    # another name for this one.
    own_names = [*host_names(item), "localhost", "127.0.0.1"]
    env |= {"SERVER_HOST": "127.0.0.1", "ALLOWED_HOSTS": ",".join(own_names)}
    env |= {"GATEWAY_TOKEN": site.gateway_token}
    command = (not program.forced and container.get("command")) or program.command
    argv = [*command, *container.get("args", [])]
    argv = rewrite_all(expand_all(argv, env), places)
    if argv[0] in ("python", "python3"):
        argv[0] = sys.executable
    wanted = container.get("workingDir") or ""
    moved = rewrite(wanted, places)  # on a volume; any other folder is one of the image
    folder = Path(moved) if moved != wanted else program.folder
    return Launch(argv, env, folder, program.fork if command is program.command else None)


def api_object(item: Manifest) -> dict[str, Any]:
    """The object as the Kubernetes API shows it; a Secret's stringData is folded into data."""
    body = item.model_dump(by_alias=True, exclude_unset=True)
    body["metadata"]["namespace"] = item.namespace
    if isinstance(item, Secret):
        body.pop("stringData", None)
        body["data"] = {k: base64.b64encode(v).decode() for k, v in item.files().items()}
    return body


def injected(item: KnativeService | Job, world: World) -> dict[str, str]:
    """K_SINK and K_CE_OVERRIDES of the SinkBindings that select `item`."""
    env = {}
    for binding in world.all(SinkBinding):
        if binds(binding, item):
            env["K_SINK"] = address(binding.spec.sink, binding.namespace)
            if binding.spec.ce_overrides.extensions:
                overrides = {"extensions": binding.spec.ce_overrides.extensions}
                env["K_CE_OVERRIDES"] = json.dumps(overrides)
    return env
