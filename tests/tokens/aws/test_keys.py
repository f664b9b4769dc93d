"""AWS keys from secrets and from a shared credentials file."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError, CredentialRefused
from proxy.tokens.aws.keys import ProfileKeys, SecretKeys, profile_keys


def says(value):
    async def read() -> str:
        return value

    return read


async def test_configured_keys_are_read_anew_each_time():
    values = iter(["s-1", "s-2"])

    async def rotating() -> str:
        return next(values)

    giver = SecretKeys(says("AKID"), rotating, None)
    first, second = await giver.give(), await giver.give()
    assert (first.keys.access_key_id, first.keys.secret_access_key, first.keys.session_token) == ("AKID", "s-1", None)
    assert second.keys.secret_access_key == "s-2"
    assert first.expires_at is None


async def test_a_session_token_belongs_to_the_keys():
    assert (await SecretKeys(says("a"), says("b"), says("c")).give()).keys.session_token == "c"


FILE = """
[default]
aws_access_key_id = AKID1
aws_secret_access_key = se%cret/+=

[dev]
aws_access_key_id=AKID2
aws_secret_access_key=two
aws_session_token=session
region=eu-west-1

[profile long]
aws_access_key_id=AKID3
aws_secret_access_key=three

[role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = default
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", ("AKID1", "se%cret/+=", None)),
        ("dev", ("AKID2", "two", "session")),
        ("long", ("AKID3", "three", None)),
    ],
)
async def test_a_profile_has_its_keys_and_its_file_is_read_anew(name, expected):
    texts = iter([FILE, FILE.replace(expected[0], "OTHER")])

    async def read() -> str:
        return next(texts)

    giver = ProfileKeys(read, name)
    keys = (await giver.give()).keys
    assert (keys.access_key_id, keys.secret_access_key, keys.session_token) == expected
    assert (await giver.give()).keys.access_key_id == "OTHER"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (FILE, "absent", "no profile 'absent'"),
        (FILE, "role", "roles are configured with assume_role"),
        ("aws_access_key_id = s3cret", "default", "malformed"),
        ("[default]\naws_access_key_id =\naws_secret_access_key = s3cret", "default", "has no aws_access_key_id"),
    ],
)
async def test_a_file_that_has_no_such_keys_is_told_apart_without_quoting_it(text, name, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        profile_keys(text, name)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(CredentialRefused, match=message):
        await ProfileKeys(says(text), name).give()
