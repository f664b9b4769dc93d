from __future__ import annotations

import msgspec
import pytest

from proxy.tokens.store.token_store import Grant, LeaseTakenError, StoreError


def test_a_grant_survives_being_written_down():
    grant = Grant(
        revision=4,
        generation=3,
        access_token="a",
        expires_at=9.5,
        refresh_token="r",
        fields=((b"X-Key", b"\xff\x00"),),
        key="pem",
        seed="mark",
        rotates=True,
        spending=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant


def test_a_grant_of_an_older_version_is_read_and_what_a_newer_one_adds_is_passed_over():
    assert msgspec.json.decode(b'{"revision":1,"added_later":true}', type=Grant) == Grant(revision=1)


@pytest.mark.parametrize(("rotates", "spending"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_refresh_token_is_in_doubt_only_if_it_was_sent_and_would_have_been_replaced(rotates, spending):
    assert Grant(rotates=rotates, spending=spending).in_doubt is (rotates and spending)


def test_a_grant_cannot_be_printed():
    text = repr(Grant(revision=3, access_token="s3cret", refresh_token="s3cret", key="s3cret", seed="s3cret"))
    assert "s3cret" not in text
    assert "revision=3" in text


def test_failures_say_whether_one_may_go_on_without_the_store():
    assert StoreError("gone").degrade
    assert not StoreError("gone", degrade=False).degrade
    assert isinstance(LeaseTakenError("taken"), StoreError)
