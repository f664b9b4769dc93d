from __future__ import annotations

import pytest

from proxy.model import Answer, Moment, Request, Token, Verdict

SECRET = "tell-nobody"
OCTETS = SECRET.encode()

NOUNS = [
    Request(b"GET", "https", b"api.example", b"/v2?key=" + OCTETS, body=OCTETS),
    Answer(401, [(b"Set-Cookie", OCTETS)], OCTETS),
    Token(access_token=SECRET, fields=((b"X-Key", OCTETS),), generation=7),
]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: type(noun).__name__)
def test_a_secret_cannot_be_printed(noun):
    for printed in (repr(noun), str(noun), f"{noun}", f"{[noun]}", repr({"it": noun})):
        assert SECRET not in printed
        assert type(noun).__name__ in printed


@pytest.mark.parametrize("noun", [*NOUNS, Moment(1.0, bytes)], ids=lambda noun: type(noun).__name__)
def test_nouns_are_frozen(noun):
    name = noun.__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(noun, name, getattr(noun, name))


def test_a_token_s_lifetime_is_unstated_until_somebody_states_it():
    token = Token(access_token=SECRET)
    assert (token.expires_wall, token.expires_elapsed, token.token_type, token.generation) == (None, None, "Bearer", 0)


def test_there_are_three_verdicts_on_an_answer():
    assert {verdict.name for verdict in Verdict} == {"PASS", "RESIGN", "RENEW"}
