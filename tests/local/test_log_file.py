"""A log is bounded while a process appends to it."""

from __future__ import annotations

from pathlib import Path

from knative.local import log_file


def test_a_large_log_moves_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "f.log"
    with log.open("ab", buffering=0) as process:
        process.write(b"x" * 2000)
        log_file.bound(log, max_bytes=1000)
        process.write(b"after\n")
        log_file.bound(log, max_bytes=1000)
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "f.log.1").read_bytes() == b"x" * 2000


def test_a_missing_log_does_not_matter(tmp_path: Path) -> None:
    log_file.bound(tmp_path / "none.log")
    assert list(tmp_path.iterdir()) == []
