"""What the launcher reads from the environment."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class LauncherSettings(Settings):
    """What a Job is where its route says nothing, and how many there may be."""

    kubernetes_namespace: str = Field("default", description="namespace of the Jobs")
    routes_file: str = Field("", description="the routes: which event launches which Job")
    job_image: str = Field(
        "",
        description="container image of Jobs whose route names none; it gets the agents' keys, so "
        "name it by its digest: ghcr.io/acme/agent@sha256:...",
    )
    job_ttl_seconds: int = Field(
        1800, ge=0, description="how long a Job is kept after its end, seconds"
    )
    job_memory_request: str = Field("2Gi", description="memory that a Job asks for")
    job_memory_limit: str = Field("4Gi", description="memory that a Job gets at most")
    job_storage_limit: str = Field(
        "10Gi", description="what a Job may write to its node's disk, its working folder included"
    )
    job_cpu_request: str = Field("1", description="CPU that a Job asks for")
    job_cpu_limit: str = Field("2", description="CPU that a Job gets at most")
    job_deadline_seconds: int = Field(
        3600, ge=1, description="how long a Job may take with its retries, seconds"
    )
    job_retries: int = Field(0, ge=0, description="how often a failed pod is replaced")
    job_concurrency: int = Field(10, ge=1, description="most Jobs at a time")
    job_group_concurrency: int = Field(
        2, ge=1, description="most Jobs at a time of one group, where its route says nothing"
    )
    job_queue_seconds: int = Field(
        86400, ge=60, description="how long a request may wait for its Job before it fails, seconds"
    )
    job_start_seconds: int = Field(
        600, ge=30, description="how long a Job may be kept from starting before it fails, seconds"
    )
    job_history_days: int = Field(
        90, ge=31, description="how long ended Jobs are remembered, days; above the inbox's 30"
    )
