"""The full configuration, and a directory and an environment in which all its references resolve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy.config.load import Loaded, load_text
from proxy.config.report import InvalidConfigurationError, Problem

FULL = (Path(__file__).parents[1] / "config" / "full.yaml").read_text()

ENVIRON = {
    "APP_PHANTOM_TOKEN": "hush-phantom",
    "KEY": "hush-key",
    "EMPTY": "",
    "CRM_CLIENT_SECRET": "hush-client",
    "SEED": "hush-seed",
    "PUSH": "hush-push",
    "REDIS_URL": "redis://:hush-redis@127.0.0.1/0",
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}

SMALLEST = """\
routes:
  - match: /crm
    upstream: https://api.crm.example/v2
    credential: crm
credentials:
  crm:
    type: oauth2
    grant_type: client_credentials
    token_endpoint: https://login.example/oauth2/token
    client_id: my-app
    client_secret: {env: CRM_CLIENT_SECRET}
"""


def furnish(directory: Path) -> Path:
    """The files that the full configuration names."""
    for folder in ("tls", "secrets"):
        (directory / folder).mkdir()
    for name in ("tls/cert.pem", "tls/key.pem", "tls/ca.pem", "secrets/key.pem"):
        (directory / name).write_text("hush-pem\n")
    (directory / "secrets/admin-token").write_text("hush-admin\n")
    (directory / "secrets/aws-credentials").write_text(
        "[default]\naws_access_key_id=a\naws_secret_access_key=hush-aws\n"
    )
    (directory / "secrets/seed.json").write_text('{"refresh_token": "hush-refresh"}')
    return directory


def load_all(text: str, directory: Path = Path("/nowhere"), environ: dict[str, str] | None = None) -> Loaded:
    """Load a text."""
    chosen = ENVIRON if environ is None else environ
    return load_text(text, name="c.yaml", directory=directory, environ=chosen)


def credential_of(loaded: Loaded, name: str) -> Any:
    """A credential of whichever type."""
    return loaded.config.credentials[name]


def problems_of(text: str, directory: Path = Path("/nowhere"), environ: dict[str, str] | None = None) -> list[Problem]:
    """What is wrong with a text, warnings included."""
    try:
        return list(load_all(text, directory, environ).warnings)
    except InvalidConfigurationError as error:
        return list(error.problems)


def errors_of(text: str, directory: Path = Path("/nowhere"), environ: dict[str, str] | None = None) -> list[Problem]:
    """What is wrong with a text, warnings left out."""
    return [problem for problem in problems_of(text, directory, environ) if problem.severity == "error"]
