"""Where a host name leads that no process here answers: out of the cluster.

A Service of type ExternalName, a Service without a selector and its EndpointSlices, `--map`, or
the name of a real host. What is mapped by hand wins, also over a Service that would run here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from knative.local.environment import host_names
from knative.local.errors import StartError
from knative.local.manifests.core import EndpointSlice, Service
from knative.local.manifests.load import World

_OF_SERVICE = "kubernetes.io/service-name"
_CLUSTER = (".svc.cluster.local", ".svc", ".localhost")


@dataclass(frozen=True)
class Target:
    """A base URL; `host` is the Host header to send there, None for the one that came."""

    url: str
    host: str | None = None


def parse_maps(given: Iterable[str]) -> dict[str, str]:
    """The URL of each name.namespace of `--map`; StartError names what is wrong."""
    maps = {}
    for text in given:
        name, _, url = text.partition("=")
        parts = urlsplit(url)
        if name.count(".") != 1 or parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartError(f"--map {text}: write NAME.NAMESPACE=http://HOST:PORT")
        maps[name] = url.rstrip("/")
    return maps


class Outside:
    """`target` finds the way out for a host name and port."""

    def __init__(self, world: World, maps: Mapping[str, str]) -> None:
        self._mapped = {
            alias: Target(url, urlsplit(url).netloc)
            for name, url in maps.items()
            for alias in (name, f"{name}.svc", f"{name}.svc.cluster.local", f"{name}.localhost")
        }
        self._services = {
            name: service for service in world.all(Service) for name in host_names(service)
        }
        self._slices = world.all(EndpointSlice)

    def mapped(self, host: str) -> Target | None:
        """What `--map` says of a host."""
        return self._mapped.get(host)

    def target(self, host: str, port: int) -> Target | None:
        """None for a name of the cluster that leads nowhere."""
        if found := self._mapped.get(host):
            return found
        service = self._services.get(host)
        if service is None:
            is_cluster = host.endswith(_CLUSTER) or "." not in host
            return None if is_cluster else Target(f"http://{host}:{port}")
        if service.spec.type == "ExternalName":
            return Target(f"http://{service.spec.external_name}:{port}")
        addresses = list(self._addresses(service, port))
        return Target(f"http://{random.choice(addresses)}") if addresses else None

    def _addresses(self, service: Service, port: int) -> Iterable[str]:
        """host:port of each ready endpoint behind a Service's port."""
        names = {one.name for one in service.spec.ports if one.port == port}
        for one in self._slices:
            of_service = one.metadata.labels.get(_OF_SERVICE) == service.name
            if not of_service or one.namespace != service.namespace:
                continue
            for behind in one.ports:
                for endpoint in one.endpoints if behind.name in names else ():
                    if endpoint.conditions.get("ready", True):
                        for address in endpoint.addresses:
                            host = f"[{address}]" if ":" in address else address
                            yield f"{host}:{behind.port}"
