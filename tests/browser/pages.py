"""Each page of the console in a state that a morning leaves it in, and what axe finds there."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Page

PAGES = {
    "today": "/",
    "sprints": "/sprints",
    "sprint": "/sprints/ORI002-S01",
    "project": "/projects/PHE001",
    "functions": "/functions",
    "events": "/events",
    "events over time": "/events?range=24h",
    "trace": "/events/trace?correlation={trace}",
    "orchestrations": "/orchestrations",
    "orchestration": "/orchestrations/tenantCreation",
    "run": "/orchestrations/tenantCreation/runs/{flow}",
    "waiting run": "/orchestrations/nobodyWorks/runs/{waiting}",
    "undo plan": "/orchestrations/tenantCreation/runs/{flow}/undo",
    "another run": "/orchestrations/tenantCreation/runs/{failed}/another",
    "jobs": "/jobs",
    "job": "/jobs/{job}",
    "agents": "/agents",
    "sign in": "/sign-in",
    "schedules": "/schedules",
    "schedule": "/schedules/scrum-simulate",
    "backfill": "/schedules/scrum-simulate/backfill?since=2026-01-01T00:00&before=2026-01-09T00:00",
    "dead letters": "/dead-letters",
    "actions": "/actions",
    "dead letter": "/dead-letters/1",
    "confirmation": "/dead-letters/1/redrive",
    "reason": "/dead-letters/1/dismiss",
    "editing": "/dead-letters/1/edit",
    "past day": "/?day=2026-02-27",
    "search": "/search?q=nothing-has-this-id",
    "hits": "/search?q=report",
    "bulk confirmation": "/bulk/runs?action=retry&item=tenantCreation/{failed}",
    "nothing selected": "/bulk/runs?action=retry",
    "all dead letters": "/dead-letters/redrive",
    "sent again": "/dead-letters/results?numbers=1",
    "pause": "/schedules/scrum-simulate/pause",
    "stop": "/jobs/{job}/cancel",
    "no backfill": "/schedules/scrum-simulate/backfills/99",
    "shortcuts": "/shortcuts",
    "no such page": "/nowhere",
}
every_page = pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()


async def serious(page: Page, *rules: str) -> list[str]:
    """What axe-core finds that is serious or critical, by all of its rules or by these."""
    await page.evaluate(AXE)
    chosen = {"runOnly": rules} if rules else {}
    found: dict[str, Any] = await page.evaluate("chosen => axe.run(chosen)", chosen)
    return [
        f"{item['id']}: {item['help']} at {item['nodes'][0]['target']}"
        for item in found["violations"]
        if item["impact"] in ("serious", "critical")
    ]
