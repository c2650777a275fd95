"""What signs a laptop's webhooks is made by its data folder, and published nowhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from knative.local import data_folder
from knative.local.cli.main import main
from knative.local.errors import StartError
from knative.local.manifests.core import Secret
from knative.local.manifests.load import World, load
from knative.local.random_secrets import FILE, filled, read
from tests.support.local_knative import ROOT

LOCAL = ROOT / "knative/overlays/local"
KEYS = ["github", "grafana", "pm", "cli", "deliveries-tokens"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data_folder.prepare(data)
    return data


def values(world: World) -> dict[str, bytes]:
    found = world.get(Secret, "dsm", "webhook-secrets")
    assert found is not None
    return found.files()


def test_each_key_gets_a_value_that_stays_with_the_data_folder(data: Path, tmp_path: Path) -> None:
    world = load(LOCAL)
    assert values(world) == {}
    made = values(filled(world, data))
    assert list(made) == KEYS
    assert len(set(made.values())) == len(KEYS)
    assert all(len(value) >= 40 for value in made.values())
    assert values(filled(world, data)) == made
    other = tmp_path / "other"
    data_folder.prepare(other)
    assert not set(values(filled(world, other)).values()) & set(made.values())


def test_no_other_user_may_read_them(data: Path) -> None:
    filled(load(LOCAL), data)
    assert stat.S_IMODE((data / FILE).stat().st_mode) == 0o600


def test_a_value_that_the_yaml_holds_is_kept(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        """
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: dsm, annotations: {knative-local/random: a b}}
stringData: {a: mine}
"""
    )
    found = filled(load(tmp_path / "one.yaml"), data).get(Secret, "dsm", "s")
    assert found is not None
    assert found.files()["a"] == b"mine"
    assert list(read(data)["dsm/s"]) == ["b"]


def test_a_broken_file_is_named(data: Path) -> None:
    (data / FILE).write_text("{")
    with pytest.raises(StartError, match="delete it"):
        filled(load(LOCAL), data)


def test_the_command_shows_all_or_one_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = values(filled(load(LOCAL), data))
    assert main(["secrets", "webhook-secrets", "cli", "--data", str(data)]) == 0
    assert capsys.readouterr().out == made["cli"].decode() + "\n"
    assert main(["secrets", "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert all(value.decode() in shown for value in made.values())
    assert main(["secrets", "nothing", "--data", str(data)]) == 1


def test_no_overlay_holds_a_secret_of_its_own_for_webhooks() -> None:
    for path in (ROOT / "knative").rglob("*.yaml"):
        text = path.read_text()
        assert "whsec_" not in text, path
        assert "only, 24" not in text, path
