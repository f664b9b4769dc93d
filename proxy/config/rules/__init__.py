"""Rules: what must hold between keys. Each names the place of a mistake and how to mend it. Their order is free."""

from __future__ import annotations

from proxy.config.parse_context import ParseContext
from proxy.config.rules import (
    aws_rules,
    credential_rules,
    listener_rules,
    oauth1_rules,
    oauth2_rules,
    per_caller_rules,
    placeholder_rules,
    reference_rules,
    route_rules,
    store_rules,
    tls_rules,
    update_rules,
    via_proxy_rules,
)
from proxy.config.schema import Config

_SUBJECTS = (
    listener_rules,
    route_rules,
    credential_rules,
    oauth2_rules,
    oauth1_rules,
    aws_rules,
    per_caller_rules,
    placeholder_rules,
    update_rules,
    reference_rules,
    tls_rules,
    via_proxy_rules,
    store_rules,
)


def judge(config: Config, context: ParseContext) -> None:
    """Check all rules. Rules skip what `context` knows to be broken."""
    for subject in _SUBJECTS:
        subject.judge(config, context)
