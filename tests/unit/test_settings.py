"""Settings: what is wrong is named before anything begins."""

from __future__ import annotations

import pytest

from functions.console.settings import ConsoleSettings
from functions.kit import settings
from functions.kit.settings import BadSetting, DatabaseSettings


@pytest.mark.parametrize("url", ["mysql://a:b@c/d", "db.example.com:5432", "postgresql:/a"])
def test_a_database_url_of_another_shape_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match=r"setting DATABASE_URL: .* must be postgresql://user"):
        DatabaseSettings.read({"DATABASE_URL": url})


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("postgresql://db/x", False),
        ("postgresql://dsm@db/x", True),
        ("postgresql://dsm:a%40b@one:5432,two:5433/x", True),
        ("postgresql:///x?host=/run&user=dsm", True),
    ],
)
def test_a_database_url_names_a_user_where_the_process_has_none(
    monkeypatch: pytest.MonkeyPatch, url: str, good: bool
) -> None:
    monkeypatch.setattr(settings, "_own_name", lambda: "")  # as in a container
    if good:
        assert DatabaseSettings.read({"DATABASE_URL": url}).url == url
        return
    with pytest.raises(BadSetting, match=r"DATABASE_URL: .* names no user"):
        DatabaseSettings.read({"DATABASE_URL": url})


def test_a_renamed_setting_is_read_by_its_old_name_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    read = ConsoleSettings.read
    assert read({"CONSOLE_PATIENCE_S": "3"}).console_page_timeout_s == 3
    assert "CONSOLE_PATIENCE_S is deprecated: use CONSOLE_PAGE_TIMEOUT_S" in caplog.text
    both = {"CONSOLE_PATIENCE_S": "3", "CONSOLE_PAGE_TIMEOUT_S": "4"}
    assert read(both).console_page_timeout_s == 4
