"""What `login` refuses before anybody is asked; the rest is in tests/whole/test_login.py."""

from __future__ import annotations

import pytest

from proxy.cli.main import main

CONFIG = """\
admin: {listen: "off"}
routes: [{match: /, upstream: https://api.example, credential: main}]
credentials:
  main: {%s}
"""
PERSON = (
    "type: oauth2, grant_type: refresh_token, client_id: c, token_endpoint: 'https://login.example/token', "
    "token_endpoint_auth_method: none, authorization_endpoint: 'https://login.example/authorize'"
)


@pytest.mark.parametrize(
    ("credential", "name", "code", "message"),
    [
        (PERSON, "other", 4, "there is no credential other; there are: main"),
        ("type: bearer, token: {value: t}", "main", 1, "type oauth2 with grant_type: refresh_token"),
        (PERSON, "main", 1, "its token would be lost"),
    ],
)
def test_nobody_is_asked_in_vain(tmp_path, capsys, credential, name, code, message):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG % credential)
    assert main(["login", name, "-c", str(file)]) == code
    assert message in capsys.readouterr().err


def test_a_token_bound_to_a_key_of_this_process_is_not_pushed_into_another(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    text = CONFIG % (PERSON + ", update: {secret: {value: s}}, dpop: true")
    file.write_text(text.replace('"off"', '"127.0.0.1:1"'))
    assert main(["login", "main", "-c", str(file)]) == 1
    assert "`dpop: {key: …}`" in capsys.readouterr().err


def test_both_ways_at_once_are_a_usage_error():
    with pytest.raises(SystemExit) as caught:
        main(["login", "main", "--device", "--browser"])
    assert caught.value.code == 2
