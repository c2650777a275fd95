"""A request as Kubernetes objects: the Job, the ConfigMap with its files, and the Secret with what
may be done in its name. Pure.

Secrets are references only: no secret value passes through the launcher, its events or its tables,
and its Role does not include Secrets.

The Job runs as UID 1000 without privileges, capabilities or a service account token, with a
deadline, a limit of retries and a time to live after its end.
"""

from __future__ import annotations

import re
from typing import Any

from functions.job_launcher.decide.job_request import JobRequest, SecretKey
from functions.job_launcher.kubernetes import egress, workspace
from functions.job_launcher.kubernetes.pod_options import QUEUE_LABEL, PodOptions
from functions.job_launcher.kubernetes.workspace import WORKSPACE

Object = dict[str, Any]

MANAGER = "job-launcher"
SELECTOR = f"app.kubernetes.io/managed-by={MANAGER}"
CAUSE = "jobs.dsm.io/cause"
FILES_AT = "/task"
TEMPORARY_AT = "/tmp"
USER = 1000
CONFINED: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "runAsNonRoot": True,
    "runAsUser": USER,
}


def job_of(request: JobRequest) -> Object:
    """Return the Job's manifest."""
    labels = labels_of(request)
    annotations = annotations_of(request)
    queue = PodOptions.model_validate(request.pod).queue
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": request.job_id,
            "labels": labels | ({QUEUE_LABEL: queue} if queue else {}),
            "annotations": annotations,
        },
        "spec": {
            # Kueue starts it once there is room.
            **({"suspend": True} if queue else {}),
            "backoffLimit": request.retries,
            # One at a time: the next goes on from what the one before has left at its end.
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": request.deadline_s,
            "ttlSecondsAfterFinished": request.ttl_s,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(request),
            },
        },
    }


def config_map_of(request: JobRequest, job: Object) -> Object | None:
    """Return the ConfigMap with the request's files, owned by the created Job; None without."""
    if not request.files:
        return None
    body = {"kind": "ConfigMap", "data": dict(request.files)}
    return {"apiVersion": "v1", "metadata": _owned(request, job), "immutable": True, **body}


def grant_secret_of(request: JobRequest, job: Object, token: str) -> Object:
    """Return the Secret with the Job's grant, owned by the created Job."""
    body = {"kind": "Secret", "type": "Opaque", "stringData": {workspace.GRANT: token}}
    return {"apiVersion": "v1", "metadata": _owned(request, job), "immutable": True, **body}


def _owned(request: JobRequest, job: Object) -> Object:
    return {
        "name": request.job_id,
        "labels": labels_of(request),
        "ownerReferences": [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": request.job_id,
                "uid": job["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def is_ours(request: JobRequest, job: Object) -> bool:
    """Does the Job belong to the request?"""
    return bool((job["metadata"].get("annotations") or {}).get(CAUSE) == _cause(request))


def job_name_of(pod: Object) -> str:
    """Return the name of a pod's Job; empty where it has none."""
    return str((pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", ""))


def labels_of(request: JobRequest) -> dict[str, str]:
    """Return the Job's labels, each truncated to a valid label value."""
    found = {
        "app.kubernetes.io/name": "agent",
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/part-of": "dsm",
        "jobs.dsm.io/kind": request.kind,
        "jobs.dsm.io/route": request.route,
        "jobs.dsm.io/task": label_value(request.task_id),
        "jobs.dsm.io/service": label_value(request.service),
        "jobs.dsm.io/group": label_value(request.group),
        egress.LABEL: str(request.pod.get("egress") or ""),
    }
    return {name: value for name, value in found.items() if value}


def annotations_of(request: JobRequest) -> dict[str, str]:
    """Return the Job's correlation as annotations, untruncated up to 2,000 characters."""
    found = {
        CAUSE: _cause(request),
        "jobs.dsm.io/event-id": request.cause_id,
        "jobs.dsm.io/event-source": request.cause_source,
        "jobs.dsm.io/event-type": request.cause_type,
        "jobs.dsm.io/correlation-id": request.correlation_id,
        "jobs.dsm.io/task-id": request.task_id,
        "jobs.dsm.io/repository": request.repository,
        "jobs.dsm.io/service": request.service,
    }
    if request.cause_type.startswith("com.github."):
        found["jobs.dsm.io/github-delivery"] = request.cause_id
    return {name: value[:2000] for name, value in found.items() if value}


def label_value(text: str) -> str:
    """A valid label value: up to 63 alphanumerics and `-_.`, alphanumeric at both ends.

    >>> label_value("acme/shop #7")
    'acme_shop__7'
    """
    cut = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:63]
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", cut)


def _cause(request: JobRequest) -> str:
    return f"{request.cause_source}#{request.cause_id}"[:2000]


def _pod(request: JobRequest) -> Object:
    options = PodOptions.model_validate(request.pod)
    storage = request.limits.get("ephemeral-storage")
    limit: Object = {"sizeLimit": storage} if storage else {}
    volumes: list[Object] = [{"name": name, "emptyDir": limit} for name in ("workspace", "tmp")]
    mounts: list[Object] = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "tmp", "mountPath": TEMPORARY_AT},
    ]
    if request.files or request.secret_files:
        volumes.append({"name": "task", "projected": {"sources": _sources(request)}})
        mounts.append({"name": "task", "mountPath": FILES_AT, "readOnly": True})
    container: Object = {
        "name": "agent",
        "image": request.image,
        "env": _env(request),
        "workingDir": workspace.working_folder(request.workspace),
        "resources": {"requests": request.requests, "limits": request.limits},
        "volumeMounts": mounts,
        # The last lines of a failed container are also in its status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**CONFINED, "readOnlyRootFilesystem": options.read_only},
    }
    container |= {"command": request.command} if request.command else {}
    container |= {"args": request.args} if request.args else {}
    inits: Object = {}
    if request.workspace is not None:
        inits = workspace.pod_fields(request, request.workspace, container, CONFINED)
        volumes += workspace.volumes(request.job_id)
    return {
        **inits,
        **options.fields(),
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }


def _env(request: JobRequest) -> list[Object]:
    # Kubernetes would expand a `$(NAME)` of the event's data.
    plain = {
        "HOME": WORKSPACE,
        "TMPDIR": TEMPORARY_AT,
        **(egress.variables(request.proxy) if request.proxy else {}),
        "JOB_NAME": request.job_id,
        "JOB_KIND": request.kind,
        "TASK_ID": request.task_id.replace("$", "$$"),
        "SERVICE_NAME": request.service.replace("$", "$$"),
        "REPOSITORY": request.repository.replace("$", "$$"),
        "EVENT_ID": request.cause_id.replace("$", "$$"),
        "EVENT_SOURCE": request.cause_source.replace("$", "$$"),
        "EVENT_TYPE": request.cause_type.replace("$", "$$"),
        **request.env,
    }
    if request.files or request.secret_files:
        plain.setdefault("TASK_DIR", FILES_AT)
    if request.workspace is not None:
        plain |= workspace.environment(request.workspace)
    if request.model is not None:
        plain |= workspace.model_environment(request.job_id)
    variables: list[Object] = [
        {"name": name, "value": value}
        for name, value in plain.items()
        if name not in request.secrets
    ]
    for name, key in request.secrets.items():
        reference = {"name": key.secret, "key": key.key, **_optional(key)}
        variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return variables


def _sources(request: JobRequest) -> list[Object]:
    """Return the sources of the task's folder: the request's ConfigMap and keys of Secrets."""
    sources: list[Object] = [{"configMap": {"name": request.job_id}}] if request.files else []
    for path, key in request.secret_files.items():
        secret = {"name": key.secret, "items": [{"key": key.key, "path": path}], **_optional(key)}
        sources.append({"secret": secret})
    return sources


def _optional(key: SecretKey) -> Object:
    return {"optional": True} if key.optional else {}
