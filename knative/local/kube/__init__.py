"""The little of the Kubernetes API that functions use, on a laptop.

    kube = KubeApi(store, namespaces=["dsm", "agents"], entrypoint=[...], root=project,
                   environment=lambda: {"HTTP_PROXY": ...})
    kube.apply(manifest)            # what the overlay holds
    await kube.start()              # then serve `kube` as an ASGI application

Served: Jobs (which run as local processes), their Pods and logs, ConfigMaps, Secrets, Namespaces,
PingSources, ApiServerSources, and Knative Services to read. The official client works unchanged;
a bearer token is ignored and RBAC is not enforced.
"""

from __future__ import annotations

from knative.local.kube.kube_api import KubeApi
from knative.local.kube.status import ApiError

__all__ = ["ApiError", "KubeApi"]
