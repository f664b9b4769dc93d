"""What the contract names and this version does not do yet: refused with its place, never ignored."""

from __future__ import annotations

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import Config, OAuth2

_KEYS = ("authorization_endpoint", "device_authorization_endpoint", "redirect_port")
"""Of credentials: what `login` will need."""
_HINT = "this version does not have it; see CHANGELOG.md"


def refuse_not_implemented(config: Config, context: ParseContext) -> None:
    """Report each use of what is not built yet."""
    for name, credential in config.credentials.items():
        for key in _KEYS if isinstance(credential, OAuth2) else ():
            if getattr(credential, key) is not None:
                path: KeyPath = ("credentials", name, key)
                context.refuse(path, f"`{key}` is not built yet", _HINT)
