"""What the manifests themselves say of the installation: its ConfigMaps, or its operator's."""

from __future__ import annotations

from collections.abc import Iterable

from knative.lint.manifest import Manifest

_OPERATOR = "operator.knative.dev"


class Installation:
    """The settings of Knative's ConfigMaps, by the ConfigMap's name and the key."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._settings: dict[tuple[str, str], str] = {}
        for manifest in manifests:
            if manifest.is_a("", "ConfigMap") and manifest.name.startswith("config-"):
                self._take(manifest.name, manifest.texts("data"))
            elif manifest.group == _OPERATOR:
                for name in manifest.mapping("spec", "config"):
                    # Operators take the name with and without its prefix.
                    self._take(f"config-{str(name).removeprefix('config-')}",
                               manifest.texts("spec", "config", name))  # fmt: skip

    def _take(self, name: str, data: dict[str, str]) -> None:
        self._settings |= {(name, key): value for key, value in data.items()}

    def has_feature(self, name: str) -> bool:
        """Is a feature of config-features on? All that the linter asks for are off in stock."""
        return self._settings.get(("config-features", name), "").lower() in ("enabled", "allowed")

    def limit(self, name: str, stock: int) -> int:
        """A limit of config-defaults."""
        value = self._settings.get(("config-defaults", name), "")
        return int(value) if value.isdecimal() else stock
