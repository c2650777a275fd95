"""The startup probe of a sidecar, by `exec`: until it succeeds, the containers after it wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from knative.local.kube.volumes import rewrite_all


@dataclass(frozen=True)
class StartupProbe:
    """`command` runs every `period_s`, for `timeout_s` at most, until it ends with 0."""

    command: Sequence[str]
    period_s: float
    timeout_s: float
    max_failures: int

    @classmethod
    def of(cls, container: Mapping[str, Any], places: Mapping[str, str]) -> Self | None:
        """A container's; None where it has none, or one of another kind."""
        probe = container.get("startupProbe") or {}
        if "exec" not in probe:
            return None
        return cls(
            rewrite_all(probe["exec"]["command"], places),
            float(probe.get("periodSeconds") or 10),
            float(probe.get("timeoutSeconds") or 1),
            int(probe.get("failureThreshold") or 3),
        )

    async def succeeds(self, *, env: Mapping[str, str], cwd: Path) -> bool:
        """Return true once it has succeeded, false once it has failed as often as it may."""
        for _ in range(self.max_failures):
            if await self._once(env, cwd):
                return True
            await asyncio.sleep(self.period_s)
        return False

    async def _once(self, env: Mapping[str, str], cwd: Path) -> bool:
        nowhere = asyncio.subprocess.DEVNULL
        try:
            child = await asyncio.create_subprocess_exec(
                *self.command, env=env, cwd=cwd, stdin=nowhere, stdout=nowhere, stderr=nowhere
            )
        except OSError:
            return False
        try:
            return await asyncio.wait_for(child.wait(), self.timeout_s) == 0
        except TimeoutError:
            return False
        finally:
            if child.returncode is None:
                child.kill()
