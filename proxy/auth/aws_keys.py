"""The keys of an AWS signature, as they travel from whoever gives them to the scheme that signs with them."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from proxy.errors import CredentialRefused


class AwsKeys(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """An access key. `session_token`: of temporary keys.

    As text it is the JSON of the AWS container credentials endpoint: `{"AccessKeyId": …, "SecretAccessKey": …,
    "SessionToken": …}`.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        """Secrets cannot be printed."""
        return "AwsKeys()"


def as_text(keys: AwsKeys) -> str:
    """The keys as an access token."""
    return msgspec.json.encode(keys).decode()


def from_text(text: str) -> AwsKeys:
    """The keys in an access token, or in an answer that has more besides. Raises CredentialRefused."""
    try:
        keys = msgspec.json.decode(text, type=AwsKeys)
    except (msgspec.DecodeError, RecursionError):
        raise CredentialRefused("The credential holds no AccessKeyId and SecretAccessKey") from None
    if not (keys.access_key_id and keys.secret_access_key):
        raise CredentialRefused("The credential has an empty AccessKeyId or SecretAccessKey")
    return keys
