"""What must hold between the keys. Each rule says where the mistake is and how to mend it."""

from __future__ import annotations

from proxy.config.reading import Reading
from proxy.config.schema import Config


def judge(config: Config, reading: Reading) -> None:
    """Every rule, on a configuration whose broken parts are known to `reading`."""
