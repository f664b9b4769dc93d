"""What a reload does not change."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from proxy.assembly.fixed_settings import refuse_fixed
from proxy.config import schema
from proxy.errors import ConfigurationError

CONFIG = schema.Config(routes=())


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"listen": (schema.Listen(address="127.0.0.1:1"),)}, "listen"),
        ({"reuse_port": True}, "reuse_port"),
        ({"admin": schema.Admin(listen=None)}, "admin.listen"),
        ({"health": schema.Health(listen="127.0.0.1:1")}, "health"),
        ({"update": schema.UpdateListener(listen="127.0.0.1:1", allow_insecure=True)}, "update"),
        ({"store": schema.FileStore(path="state")}, "store"),
    ],
)
def test_listeners_and_the_store_need_a_restart(change, name):
    with pytest.raises(ConfigurationError, match=f"changed while running: {name}; restart"):
        refuse_fixed(CONFIG, replace(CONFIG, **change))


def test_all_of_them_are_named_at_once():
    changed = replace(CONFIG, reuse_port=True, health=schema.Health(listen="127.0.0.1:1"))
    with pytest.raises(ConfigurationError, match="reuse_port, health; restart"):
        refuse_fixed(CONFIG, changed)


def test_everything_else_may_change():
    refuse_fixed(
        CONFIG, replace(CONFIG, log=schema.Log(level="debug"), admin=schema.Admin(bearer=schema.Secret(env="A")))
    )
