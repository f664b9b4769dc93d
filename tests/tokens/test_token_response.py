from __future__ import annotations

from proxy.model import Token
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

SECRET = "do-not-print"


def test_neither_token_is_ever_printed():
    token = Token(access_token=SECRET)
    assert SECRET not in f"{TokenResponse(token, SECRET)!r} {TokenPair(token, SECRET)!r} {TokenPair(None, SECRET)}"


def test_a_pair_is_true_where_there_is_anything_to_go_on_from():
    assert TokenPair(None, "r")
    assert TokenPair(Token(access_token="a"))
    assert not NOTHING


def test_the_token_that_the_data_path_gets_has_no_place_for_a_refresh_token():
    assert "refresh_token" not in Token.__struct_fields__
