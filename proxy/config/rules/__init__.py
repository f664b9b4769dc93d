"""What must hold between the keys. Each rule says where the mistake is and how to mend it; none depends on another."""

from __future__ import annotations

from proxy.config.parse_context import ParseContext
from proxy.config.rules import (
    credentials,
    listeners,
    oauth1,
    oauth2,
    per_caller,
    references,
    routes,
    tls,
    update,
    via_proxy,
)
from proxy.config.schema import Config


def judge(config: Config, context: ParseContext) -> None:
    """Every rule, on a configuration whose broken parts are known to `context`."""
    for subject in (listeners, routes, credentials, oauth2, oauth1, per_caller, update, references, tls, via_proxy):
        subject.judge(config, context)
