"""The containers around an agent's: they prepare its workspace, and collect what comes of it. Pure.

model       a sidecar, which passes requests on to the model; it alone sees the model's key
workspace   clones the repository and makes the branch; it alone sees a token of GitHub
outputs     a sidecar, which ends after the agent: it bundles commits and posts them
setup       the route's command, in the agent's image, without a token

The agent's container mounts neither the grant nor what the sidecar compares with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from functions.job_launcher.decide.job_request import JobRequest, SecretKey, Workspace
from functions.job_launcher.kubernetes import egress

Object = dict[str, Any]

WORKSPACE = "/workspace"
REPOSITORY_AT = f"{WORKSPACE}/repository"
OUTPUTS_FILE = f"{WORKSPACE}/outputs.json"
GRANT = "grant"
_AGENT_KEY = "the-sidecar-has-it"  # it opens nothing but the sidecar, for the agent's own client
# Of the agent's variables, what a command that installs packages needs.
SETUP_ENV = ("HOME", "TMPDIR", *egress.variables(""))
_GRANT_AT, _COLLECTED_AT, _TEMPORARY_AT = "/grant", "/collected", "/tmp"
# In a volume of the containers beside the agent: it has another at this place.
_MODEL_USAGE_AT = f"{_TEMPORARY_AT}/model-usage.json"
# After the agent's end the sidecar posts, for so long where agent-outputs is away.
GRACE_S = 6 * 3600
# The agent begins once the sidecars are ready for it, each within a minute of its own start.
STARTED = "started"
_SECONDS_TO_START = 60
# An agent that does not end by itself has so long after its SIGTERM.
AGENT_GRACE_S = 600
_RESOURCES: Object = {
    "requests": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
    "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "2Gi"},
}


def environment(workspace: Workspace) -> dict[str, str]:
    """Return the variables that describe the workspace to the agent."""
    files = {"OUTPUTS_FILE": OUTPUTS_FILE, "USAGE_FILE": f"{WORKSPACE}/usage.json"}
    if not workspace.repository:
        return files
    return {
        "REPOSITORY_DIR": REPOSITORY_AT,
        "BRANCH": workspace.branch,
        **files,
        "SESSION_FILE": f"{WORKSPACE}/session",
        "STATE_DIR": f"{WORKSPACE}/state",
    }


def working_folder(workspace: Workspace | None) -> str:
    """Return the folder in which the agent starts."""
    return REPOSITORY_AT if workspace is not None and workspace.repository else WORKSPACE


def volumes(job_id: str) -> list[Object]:
    return [
        {"name": "grant", "secret": {"secretName": job_id}},
        {"name": "collected", "emptyDir": {"sizeLimit": "2Gi"}},
        {"name": "temporary", "emptyDir": {"sizeLimit": "1Gi"}},
    ]


def pod_fields(
    request: JobRequest, workspace: Workspace, agent: Object, confined: Mapping[str, Any]
) -> Object:
    """Return the init containers, in their order, and the grace period."""
    container: Object = {
        "image": workspace.image,
        "env": [
            {"name": "AGENT_OUTPUTS_URL", "value": workspace.outputs_url},
            {"name": "JOB_NAME", "value": request.job_id},
            {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "GRANT_FILE", "value": f"{_GRANT_AT}/{GRANT}"},
            {"name": "COLLECTED_DIR", "value": _COLLECTED_AT},
            {"name": "REPOSITORY_DIR", "value": REPOSITORY_AT},
            {"name": "OUTPUTS_FILE", "value": OUTPUTS_FILE},
            {"name": "CHECKPOINT_SECONDS", "value": str(workspace.checkpoint_s)},
            {"name": "HOME", "value": _TEMPORARY_AT},
        ],
        "resources": _RESOURCES,
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE},
            {"name": "grant", "mountPath": _GRANT_AT, "readOnly": True},
            {"name": "collected", "mountPath": _COLLECTED_AT},
            {"name": "temporary", "mountPath": _TEMPORARY_AT},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**confined, "readOnlyRootFilesystem": True},
    }
    program = ["python", "-m", "functions.agent_pod"]
    # git clones by HTTPS; agent-outputs is inside, by HTTP.
    proxy = [{"name": "HTTPS_PROXY", "value": request.proxy}] if request.proxy else []
    prepare = {
        **container,
        "name": "workspace",
        "env": [
            *container["env"],
            {"name": "SUBMODULES", "value": str(workspace.submodules).lower()},
            {"name": "LFS", "value": str(workspace.lfs).lower()},
            *proxy,
        ],
        "command": [*program, "prepare"],
    }
    counted = [{"name": "MODEL_USAGE_FILE", "value": _MODEL_USAGE_AT}] if request.model else []
    collect = {
        **container,
        "name": "outputs",
        "env": [*container["env"], *counted],
        "command": [*program, "collect"],
        "restartPolicy": "Always",
        "startupProbe": _startup_probe("test", "-e", f"{_COLLECTED_AT}/{STARTED}"),
    }
    setup: list[Object] = []
    if workspace.setup:
        bare = {name: agent[name] for name in agent if name not in ("command", "args")}
        env = [one for one in agent["env"] if one["name"] in SETUP_ENV]
        setup = [{**bare, "name": "setup", "env": env, "command": workspace.setup}]
    clone = [prepare] if workspace.repository else []
    model: list[Object] = []
    if request.model is not None:
        model = [_model(request, request.model, container, [*program, "model"], proxy)]
    return {
        "initContainers": [*model, *clone, collect, *setup],
        "terminationGracePeriodSeconds": GRACE_S,
    }


def _startup_probe(*command: str) -> Object:
    # A sidecar that does not start is ended at once: the pod's hours of grace are for its work.
    timing = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": _SECONDS_TO_START}
    return {"exec": {"command": list(command)}, **timing, "terminationGracePeriodSeconds": 1}


def model_environment(job_id: str) -> dict[str, str]:
    """Return the variables by which the agent finds its model; the key in them is none."""
    url = f"http://127.0.0.1:{_model_port(job_id)}"
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": _AGENT_KEY}


def _model_port(job_id: str) -> int:
    # Of each Job another: on a laptop, pods share their host's.
    return 20_000 + int(hashlib.sha256(job_id.encode()).hexdigest()[:8], 16) % 10_000


def _model(
    request: JobRequest,
    key: SecretKey,
    container: Object,
    command: list[str],
    proxy: list[dict[str, str]],
) -> Object:
    port = _model_port(request.job_id)
    connect = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
    reference: Object = {"name": key.secret, "key": key.key}
    reference |= {"optional": True} if key.optional else {}
    return {
        **container,
        "name": "model",
        "command": command,
        "restartPolicy": "Always",
        "startupProbe": _startup_probe("python", "-c", connect),
        "env": [
            {"name": "MODEL_URL", "value": request.model_url},
            {"name": "MODEL_PORT", "value": str(port)},
            {"name": "MODEL_AGENT_KEY", "value": _AGENT_KEY},
            {"name": "MODEL_USAGE_FILE", "value": _MODEL_USAGE_AT},
            {"name": "MODEL_KEY", "valueFrom": {"secretKeyRef": reference}},
            {"name": "HOME", "value": _TEMPORARY_AT},
            *proxy,
        ],
        # Neither the workspace nor the grant.
        "volumeMounts": [{"name": "temporary", "mountPath": _TEMPORARY_AT}],
    }
