"""A tick of the local Knative's clock, through its broker: one trace holds what it causes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.function.otlp import collector
from tests.support import eventually
from tests.support_runtime import ROOT, LocalKnative

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_tick_and_what_follows_from_it_are_one_trace(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    data: Path = tmp_path_factory.mktemp("t")
    overlay = ROOT / "knative/overlays/local"
    with collector() as seen:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": seen.url}
        runtime = LocalKnative(overlay, data, env=endpoint)
        try:
            runtime.start(within_s=150)  # eighteen processes that import OpenTelemetry
            assert await runtime.fire("sprint-report") == 202
            await eventually(runtime.settled, within_s=60)
        finally:
            runtime.stop()
        (tick,) = (s for s in seen.of("sprint-report", "POST /") if not s.parent)
        assert tick.attributes["faas.trigger"] == "timer"
        whole = [s for s in seen.spans if s.trace == tick.trace]
        assert {"sprint-report", "project-service", "sprint-service"} <= {s.service for s in whole}
        asked = [s for s in seen.spans if s.name == "GET /sprints/list_projects"]
        assert {s.trace for s in asked} == {tick.trace}
