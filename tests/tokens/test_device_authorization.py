"""What a device authorization endpoint hands out."""

from __future__ import annotations

import pytest

from proxy.errors import CredentialRefused
from proxy.tokens.device_authorization import DEVICE_CODE, device_authorization

GOOD = {"device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "https://login.example/device"}


def test_the_codes_and_the_page_are_read_and_what_is_left_out_has_its_default():
    given = device_authorization(GOOD)
    assert (given.user_code, given.verification_uri, given.complete_uri) == (
        "ABCD-EFGH",
        GOOD["verification_uri"],
        None,
    )
    assert (given.interval, given.lifetime) == (5.0, 300.0)
    assert given.parameters == [("grant_type", DEVICE_CODE), ("device_code", "d")]


def test_what_a_server_says_of_time_and_page_counts():
    given = device_authorization(
        {**GOOD, "interval": "2", "expires_in": 60, "verification_uri_complete": "https://x/?c=A"}
    )
    assert (given.interval, given.lifetime, given.complete_uri) == (2.0, 60.0, "https://x/?c=A")
    assert device_authorization({**GOOD, "interval": 0.01}).interval == 1.0


def test_the_older_spelling_of_the_page_is_read():
    said = {**GOOD, "verification_url": GOOD["verification_uri"]}
    del said["verification_uri"]
    assert device_authorization(said).verification_uri == GOOD["verification_uri"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device_code": None}, "no codes"),
        ({"user_code": ""}, "no codes"),
        ({"user_code": "A\x1b[2J"}, "no codes"),
        ({"verification_uri": 7}, "no codes"),
        ({"verification_uri": "javascript:alert(1)"}, "no page"),
    ],
)
def test_an_answer_that_asks_nobody_anything_is_refused(change, message):
    with pytest.raises(CredentialRefused, match=message):
        device_authorization(GOOD | change)


def test_it_cannot_be_printed():
    assert repr(device_authorization(GOOD)) == "DeviceAuthorization()"
