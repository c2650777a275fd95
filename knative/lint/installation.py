"""What the manifests themselves say of the installation: its ConfigMaps, or its operator's."""

from __future__ import annotations

from collections.abc import Iterable

from knative.lint.manifest import Manifest

_OPERATOR = "operator.knative.dev"
SERVING_HOME, EVENTING_HOME = "knative-serving", "knative-eventing"
_HOMES = {"KnativeServing": SERVING_HOME, "KnativeEventing": EVENTING_HOME}


class Installation:
    """The settings of Knative's ConfigMaps, by its namespace, its name and the key.

    Of two manifests that set a key the last one counts.
    """

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._settings: dict[tuple[str, str, str], str] = {}
        for manifest in manifests:
            if manifest.is_a("", "ConfigMap") and manifest.namespace in _HOMES.values():
                self._take(manifest.namespace, manifest.name, manifest.texts("data"))
            elif manifest.group == _OPERATOR and manifest.kind in _HOMES:
                for name in manifest.mapping("spec", "config"):
                    # Operators take the name with and without its prefix.
                    self._take(_HOMES[manifest.kind], f"config-{str(name).removeprefix('config-')}",
                               manifest.texts("spec", "config", name))  # fmt: skip

    def _take(self, home: str, name: str, data: dict[str, str]) -> None:
        self._settings |= {(home, name, key): value for key, value in data.items()}

    def has_feature(self, name: str, home: str = SERVING_HOME) -> bool:
        """Is a feature of config-features on? All that the linter asks for are off in stock."""
        value = self._settings.get((home, "config-features", name), "")
        return value.lower() in ("enabled", "allowed")

    def limit(self, name: str, stock: int) -> int:
        """A limit of Serving's config-defaults."""
        value = self._settings.get((SERVING_HOME, "config-defaults", name), "")
        return int(value) if value.isdecimal() else stock
