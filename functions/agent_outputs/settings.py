"""The settings of agent-outputs."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class OutputsSettings(Settings):
    """How agents' outputs are taken and applied."""

    grant_key: str = Field(
        "",
        repr=False,
        description="key that verifies what a Job may have done in its name, shared with "
        "job-launcher; 32 characters at least, none refuses all outputs",
    )
    github_url: str = Field(
        "https://github.com", description="where repositories are cloned from and pushed to"
    )
    agent_name: str = Field("dsm-agent", min_length=1, description="author of agents' commits")
    agent_email: str = Field(
        "dsm-agent@users.noreply.github.com", min_length=1, description="and the author's address"
    )
    outputs_give_up_hours: int = Field(
        24, ge=1, description="how long outputs are tried while GitHub is away, hours"
    )
    outputs_history_days: int = Field(
        90, ge=1, description="how long outputs and kept commits are kept, days"
    )
    outputs_bundle_days: int = Field(
        7, ge=0, description="how long commits are kept after they were delivered, days"
    )
    artifacts_folder: str = Field(
        "",
        description="a mounted volume for large bundles of commits; none keeps all in PostgreSQL",
    )
    artifacts_database_bytes: int = Field(
        1_000_000, ge=0, description="bundles up to this size are in PostgreSQL all the same, bytes"
    )
