"""Keys as text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.aws_keys import AwsKeys, as_text, from_text
from proxy.errors import CredentialRefused

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(TEXT, TEXT, st.none() | TEXT)
def test_keys_come_back_from_their_text(access_key_id, secret, session):
    keys = AwsKeys(access_key_id=access_key_id, secret_access_key=secret, session_token=session)
    assert from_text(as_text(keys)) == keys


def test_more_members_than_keys_are_fine():
    assert from_text('{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}').session_token is None


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"AccessKeyId": "a"}', '{"AccessKeyId": 1, "SecretAccessKey": "b"}']
)
def test_what_holds_no_keys_is_refused_without_quoting_it(text):
    with pytest.raises(CredentialRefused, match="holds no AccessKeyId"):
        from_text(text)


def test_keys_cannot_be_printed():
    assert repr(AwsKeys(access_key_id="s3cret", secret_access_key="s3cret")) == "AwsKeys()"
