"""The public names of the kit are importable from its packages."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.support.repository import ROOT

KIT = ROOT / "functions" / "kit"
PACKAGES = ("clients", "contract", "durable", "process", "telemetry")


@pytest.mark.parametrize("name", PACKAGES)
def test_each_name_of_a_stub_is_the_one_of_its_module(name: str) -> None:
    package = importlib.import_module(f"functions.kit.{name}")
    stub = (KIT / name / "__init__.pyi").read_text()
    named = re.findall(r"^from \.(\w+) import (\w+) as \2$", stub, re.MULTILINE)
    assert len(named) == len(stub.strip().splitlines())
    for module, public in named:
        home = importlib.import_module(f"functions.kit.{name}.{module}")
        assert getattr(package, public) is getattr(home, public)
        assert not (KIT / name / f"{public}.py").exists(), "a module of that name hides it"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for(name: str) -> None:
    assert importlib.import_module(f"functions.kit.{name}").__doc__
