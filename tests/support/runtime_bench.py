"""Live objects of a configuration, without a listener and without a start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from proxy.assembly.runtime import Runtime
from proxy.assembly.runtime_builder import RuntimeBuilder
from proxy.config.load import Loaded, load_text
from support.clock import FakeClock


class Bench:
    """A builder that builds what a user would write; its clock stands still."""

    def __init__(self, directory: Path, environ: Mapping[str, str] | None = None) -> None:
        self.clock = FakeClock()
        self._directory = directory
        self._environ = environ or {}
        self.builder: RuntimeBuilder | None = None

    def loaded(self, config: Mapping[str, Any]) -> Loaded:
        """Read it; a route for each credential where none are given."""
        given = dict(config)
        names = given.get("credentials", {"none": None})
        given.setdefault(
            "routes", [{"match": f"/{name}", "upstream": "http://127.0.0.1:1", "credential": name} for name in names]
        )
        text = yaml.safe_dump(given, sort_keys=False)
        return load_text(text, name="c.yaml", directory=self._directory, environ=self._environ)

    def build(self, config: Mapping[str, Any], old: Runtime | None = None) -> Runtime:
        """Build it, and use it. Raises ConfigurationError."""
        loaded = self.loaded(config)
        if self.builder is None:
            self.builder = RuntimeBuilder(loaded, self._environ, self.clock)
        runtime = self.builder.build(loaded, old)
        self.builder.use(runtime)
        return runtime

    def credential(self, config: Mapping[str, Any], **others: Any) -> Any:
        """One credential, named `main`, whole (`CredentialRuntime`)."""
        return self.build({"credentials": {"main": config, **others}}).credentials["main"]
