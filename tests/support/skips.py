"""Where everything a test needs should be there, a test that is skipped has failed.

That is where CI is set. What may be skipped even there is listed with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# A skip's own reason: why it is allowed. On GitHub tests do not run as root.
ALLOWED: dict[str, str] = {
    "there is no kubectl here": "the test beside it builds each overlay without one",
}
ALLOWED_ON_GITHUB: dict[str, str] = {
    "only root can run as another user": "the job second-user of check.yml runs it",
    "only root can be another account": "the job second-user of check.yml runs it",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and (reason := refused(report)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {reason}; see ALLOWED in {__name__}"
    return report


def refused(report: pytest.TestReport) -> str:
    """The reason for a skip that is not allowed here; empty where it is."""
    if not os.environ.get("CI"):
        return ""
    allowed = ALLOWED | (ALLOWED_ON_GITHUB if os.environ.get("GITHUB_ACTIONS") else {})
    given = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    reason = given.removeprefix("Skipped: ")
    return "" if reason in allowed else reason or "no reason is given"
