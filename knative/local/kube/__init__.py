"""The little of the Kubernetes API that functions use, on a laptop.

    kube = KubeApi(store, namespaces=["dsm", "agents"], programs={...},
                   environment=lambda: {"HTTP_PROXY": ...})
    kube.apply(manifest)            # what the overlay holds
    await kube.start()              # then serve `kube` as an ASGI application

Served: Jobs (which run as local processes), their Pods and logs, ConfigMaps, Secrets, Namespaces,
PingSources, ApiServerSources, and Knative Services to read. The official client works unchanged.

What differs from a cluster:
- who may ask is checked in front of it (`knative.local.access`), and RBAC is not enforced;
- a container is a process without walls (`machine`); a volume is a folder, and what begins with
  its mountPath is rewritten to it (`volumes`); a pod that cannot run here is completed as
  *recorded only* and says so in its status, its annotation and its log;
- one pod per Job, no failure policies (`job_spec` refuses them by name);
- a strategic merge patch replaces lists, server-side apply keeps no owners of fields, and unknown
  fields are kept;
- a watch can go back ten thousand changes, or to the start of the process; before that it is 410.
"""

from __future__ import annotations

from knative.local.kube.assembly import KubeApi
from knative.local.kube.status import ApiError

__all__ = ["ApiError", "KubeApi"]
