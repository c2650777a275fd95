"""The launcher's settings."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class LauncherSettings(Settings):
    """The defaults of Jobs and their limits."""

    kubernetes_namespace: str = Field("default", description="namespace of the Jobs")
    routes_file: str = Field("", description="the routes: which event launches which Job")
    job_image: str = Field(
        "",
        description="container image of Jobs whose route names none; it gets the agents' keys, so "
        "name it by its digest: ghcr.io/acme/agent@sha256:...",
    )
    workspace_image: str = Field(
        "",
        description="image of the functions, for the containers that prepare an agent's workspace "
        "and collect its outputs; the image that job-launcher itself runs",
    )
    grant_key: str = Field(
        "",
        repr=False,
        description="key that signs what a Job may have done in its name, shared with "
        "agent-outputs; 32 characters at least",
    )
    agent_outputs_url: str = Field(
        "http://agent-outputs.dsm.svc.cluster.local", description="base URL of agent-outputs"
    )
    model_url: str = Field(
        "https://api.anthropic.com",
        description="API of the model that a route's `model` has a key of",
    )
    egress_proxies: str = Field(
        "",
        pattern=r"^([a-z0-9-]+=[0-9]+(,[a-z0-9-]+=[0-9]+)*)?$",
        description="lists of host names that agents may reach, and the port of each on the "
        "Service egress-proxy beside them: code=3128,python=3129; none leaves them the internet",
    )
    job_egress: str = Field(
        "code", description="list of a Job whose route names none, where there are lists"
    )
    job_ttl_seconds: int = Field(
        1800, ge=0, description="how long a Job is kept after its end, seconds"
    )
    job_memory_request: str = Field("2Gi", description="memory request of a Job")
    job_memory_limit: str = Field("4Gi", description="memory limit of a Job")
    job_storage_limit: str = Field(
        "10Gi", description="ephemeral storage limit of a Job, its working folder included"
    )
    job_checkpoint_seconds: int = Field(
        60, ge=1, description="how often what an agent has done so far is kept, seconds"
    )
    job_cpu_request: str = Field("1", description="CPU request of a Job")
    job_cpu_limit: str = Field("2", description="CPU limit of a Job")
    job_deadline_seconds: int = Field(
        3600, ge=1, description="how long a Job may take with its retries, seconds"
    )
    job_retries: int = Field(0, ge=0, description="how often a failed pod is replaced")
    job_concurrency: int = Field(10, ge=1, description="maximum of active Jobs")
    job_group_concurrency: int = Field(
        2, ge=1, description="maximum of active Jobs of one group, where its route sets none"
    )
    job_queue_seconds: int = Field(
        86400, ge=60, description="how long a request may wait for its Job before it fails, seconds"
    )
    job_start_seconds: int = Field(
        600, ge=30, description="how long a Job may be kept from starting before it fails, seconds"
    )
    job_history_days: int = Field(
        90, ge=31, description="how long ended Jobs are kept, days; above the inbox's 30"
    )

    @property
    def egress_ports(self) -> dict[str, int]:
        """The port of each list of host names."""
        pairs = (one.partition("=") for one in self.egress_proxies.split(",") if one)
        return {name: int(port) for name, _, port in pairs}
