"""Sealing and opening, with the AEAD of `cryptography` called directly as the second opinion."""

from __future__ import annotations

import base64
import json
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigurationError
from proxy.tokens.store.envelope import Envelope, EnvelopeError, key_id

OLD, NEW = os.urandom(32), os.urandom(32)
RECORD = b'{"refresh_token":"r-1"}'


def test_a_record_without_a_key_is_plain_json():
    stored = Envelope().seal(RECORD, "crm")
    assert json.loads(stored) == {"format": 1, "record": {"refresh_token": "r-1"}}
    assert json.loads(Envelope().open(stored, "crm")) == {"refresh_token": "r-1"}


def test_a_sealed_record_shows_nothing_and_opens_again():
    stored = Envelope((NEW,)).seal(RECORD, "crm")
    assert b"r-1" not in stored
    assert Envelope((NEW,)).open(stored, "crm") == RECORD


def test_a_sealed_record_is_aes_256_gcm_bound_to_the_credentials_name():
    outer = json.loads(Envelope((NEW,)).seal(RECORD, "crm"))
    nonce, sealed = base64.b64decode(outer["nonce"]), base64.b64decode(outer["sealed"])
    assert len(nonce) == 12
    assert AESGCM(NEW).decrypt(nonce, sealed, b"auth-sidecar record 1\0crm") == RECORD


def test_no_nonce_is_used_twice():
    envelope = Envelope((NEW,))
    assert len({json.loads(envelope.seal(RECORD, "crm"))["nonce"] for _ in range(200)}) == 200


def test_a_record_in_another_credentials_place_does_not_open():
    with pytest.raises(EnvelopeError, match="belongs to another credential"):
        Envelope((NEW,)).open(Envelope((NEW,)).seal(RECORD, "crm"), "erp")


def test_the_first_key_seals_and_all_keys_open():
    text = f"{base64.b64encode(NEW).decode()}\n\n  {base64.b64encode(OLD).decode()}\n"
    both = Envelope.from_lines(text)
    assert both.open(Envelope((OLD,)).seal(RECORD, "crm"), "crm") == RECORD
    assert json.loads(both.seal(RECORD, "crm"))["key"] == key_id(NEW)


def test_a_wrong_key_names_the_missing_key_and_the_mend():
    with pytest.raises(EnvelopeError, match=f"{key_id(OLD)}.*add that key") as caught:
        Envelope((NEW,)).open(Envelope((OLD,)).seal(RECORD, "crm"), "crm")
    assert base64.b64encode(OLD).decode() not in str(caught.value)


def test_an_encrypted_record_without_any_key_asks_for_the_key():
    with pytest.raises(EnvelopeError, match="give the store its encryption_key"):
        Envelope().open(Envelope((NEW,)).seal(RECORD, "crm"), "crm")


def test_a_plain_record_is_refused_once_there_is_a_key():
    """Or whoever can write the directory could plant a grant of their own."""
    with pytest.raises(EnvelopeError, match=r"not encrypted.*`plaintext`"):
        Envelope((NEW,)).open(Envelope().seal(RECORD, "crm"), "crm")


def test_a_line_plaintext_admits_plain_records_and_still_seals_new_ones():
    moving = Envelope.from_lines(f"{base64.b64encode(NEW).decode()}\nplaintext\n")
    assert json.loads(moving.open(Envelope().seal(RECORD, "crm"), "crm")) == json.loads(RECORD)
    assert b"r-1" not in moving.seal(RECORD, "crm")


@given(st.data())
def test_a_changed_octet_never_opens_as_something_else(data):
    stored = bytearray(Envelope((NEW,)).seal(RECORD, "crm"))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    try:
        opened = Envelope((NEW,)).open(bytes(stored), "crm")
    except EnvelopeError:
        return
    assert opened == RECORD  # the change hit what JSON or base64 does not count


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"format":1}',
        b'{"format":1,"key":"a"}',
        b'{"format":"x"}',
        b'{"format":1,"nonce":7}',
    ],
)
def test_what_is_no_record_is_called_damaged(stored):
    with pytest.raises(EnvelopeError, match="damaged"):
        Envelope((NEW,)).open(stored, "crm")


def test_a_nonce_of_impossible_length_is_called_damaged():
    outer = json.loads(Envelope((NEW,)).seal(RECORD, "crm")) | {"nonce": ""}
    with pytest.raises(EnvelopeError, match="damaged"):
        Envelope((NEW,)).open(json.dumps(outer).encode(), "crm")


def test_a_record_of_a_later_format_asks_for_that_version():
    with pytest.raises(EnvelopeError, match="format 2"):
        Envelope().open(b'{"format":2,"record":{}}', "crm")


@pytest.mark.parametrize("line", ["hunter2", "c2hvcnQ=", "%%%", base64.b64encode(bytes(33)).decode()])
def test_a_malformed_key_is_a_configuration_error_that_does_not_show_it(line):
    good = base64.b64encode(NEW).decode()
    with pytest.raises(ConfigurationError, match="encryption_key, line 2") as caught:
        Envelope.from_lines(f"{good}\n{line}")
    assert line not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n \n", "plaintext"])
def test_an_encryption_key_without_any_key_is_a_configuration_error(text):
    with pytest.raises(ConfigurationError, match="holds no key"):
        Envelope.from_lines(text)


def test_envelopes_are_told_apart_by_their_keys_the_order_of_these_and_what_they_admit():
    held = [
        Envelope(),
        Envelope((OLD,)),
        Envelope((NEW,)),
        Envelope((NEW, OLD)),
        Envelope((OLD, NEW)),
        Envelope((OLD,), admit_plaintext=True),
    ]
    assert len({envelope.marks for envelope in held}) == len(held)
    assert Envelope((NEW, OLD)).marks == Envelope((NEW, OLD)).marks
    assert not any(key.hex() in str(envelope.marks) for envelope in held for key in (OLD, NEW))
