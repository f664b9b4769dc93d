from __future__ import annotations

import asyncio
import os
import sys

import pytest
from support.clock import FakeClock

from proxy.auth.skew import ServerTime
from proxy.config.schema import Duration, Secret
from proxy.config.secrets import SecretError
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.secret import CommandSecret, CredentialSecret, live_secret
from proxy.tokens.token_response import TokenPair, TokenResponse


def live(secret: Secret, clock: FakeClock | None = None, tokens_of=None):
    return live_secret(secret, {"KEY": "from the environment"}, clock or FakeClock(), tokens_of or (lambda _: None))


def printing(path, *, script: str = "import sys; print(open(sys.argv[1]).read(), end='')", **more) -> Secret:
    """A command that prints a file, and notes each run in another."""
    counted = f"open(sys.argv[1] + '.runs', 'a').write('.'); {script.removeprefix('import sys; ')}"
    return Secret(exec=(sys.executable, "-c", f"import sys; {counted}", str(path)), **more)


def runs(path) -> int:
    file = path.with_name(path.name + ".runs")
    return len(file.read_text()) if file.exists() else 0


async def test_a_variable_is_always_at_hand():
    secret = live(Secret(env="KEY"))
    assert secret.ready() == await secret.read() == await secret.read(anew=True) == "from the environment"
    assert secret.changes == 0


def test_a_missing_variable_is_told_at_once():
    with pytest.raises(SecretError, match="NONE"):
        live(Secret(env="NONE"))


async def test_a_file_is_followed(tmp_path):
    path, clock = tmp_path / "key", FakeClock()
    path.write_text("one\n")
    secret = live(Secret(file=str(path)), clock)
    assert secret.ready() == "one"
    path.write_text("two\n")
    os.utime(path, ns=(5, 5))
    assert secret.ready() == "one", "it is looked at once a second"
    assert await secret.read() == "two", "unless a token request is to hold it"
    path.write_text("three\n")
    os.utime(path, ns=(6, 6))
    await clock.advance(1)
    assert secret.changes == 2
    assert await secret.read() == "three"


async def test_a_command_is_run_once_within_its_time(tmp_path):
    path, clock = tmp_path / "key", FakeClock()
    path.write_text("one")
    secret = live(printing(path, ttl=Duration(60)), clock)
    assert secret.ready() is None
    assert set(await asyncio.gather(*(secret.read() for _ in range(5)))) == {"one"}
    assert secret.ready() == "one"
    assert runs(path) == 1
    path.write_text("two")
    await clock.advance(59)
    assert await secret.read() == "one"
    await clock.advance(1)
    assert secret.ready() is None
    assert await secret.read() == "two"
    assert (runs(path), secret.changes) == (2, 1)


async def test_a_command_is_run_anew_when_its_output_was_refused_but_once_for_all(tmp_path):
    path = tmp_path / "key"
    path.write_text("one")
    secret = live(printing(path))
    await secret.read()
    path.write_text("two")
    assert set(await asyncio.gather(*(secret.read(anew=True) for _ in range(5)))) == {"two"}
    assert runs(path) == 2


async def test_without_a_ttl_it_is_kept_for_five_minutes(tmp_path):
    path, clock = tmp_path / "key", FakeClock()
    path.write_text("one")
    secret = live(printing(path), clock)
    await secret.read()
    await clock.advance(299)
    assert secret.ready() == "one"
    await clock.advance(1)
    assert secret.ready() is None


async def test_the_last_output_outlives_a_command_that_fails(tmp_path, caplog):
    path, clock = tmp_path / "key", FakeClock()
    path.write_text("s3cret")
    secret = live(printing(path), clock)
    await secret.read()
    path.unlink()
    await clock.advance(301)
    assert await secret.read() == "s3cret"
    assert "last output stays in use" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("output", "secret"),
    [
        ("s3cret", "s3cret"),
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        ("\ufeffs3cret\n", "s3cret"),
        ("s3cret\n\n", "s3cret\n"),
        (" s3cret", " s3cret"),
    ],
)
async def test_an_output_is_trimmed_like_every_secret_and_more_white_space_is_told(tmp_path, caplog, output, secret):
    path = tmp_path / "key"
    path.write_bytes(output.encode())

    assert await live(printing(path)).read() == secret
    assert ("white space" in caplog.text) == (secret != "s3cret")
    assert "s3cret" not in caplog.text


async def test_json_output_may_have_a_byte_order_mark(tmp_path):
    path = tmp_path / "key"
    path.write_text('\ufeff{"a": "inner\\n"}')
    assert await live(printing(path, json_pointer="/a")).read() == "inner"


@pytest.mark.parametrize("output", ["", "\n", " \n\n", "\ufeff", "a\0b", "not json"])
async def test_what_is_no_secret_is_an_error_that_does_not_show_it(tmp_path, output):
    path = tmp_path / "key"
    path.write_text(output)
    pointer = "/token" if output == "not json" else None
    with pytest.raises(CredentialUnavailable) as caught:
        await live(printing(path, json_pointer=pointer)).read()
    assert "json" not in str(caught.value)


async def test_a_command_that_prints_octets_of_no_text_is_an_error():
    command = (sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\xff\xfe')")
    with pytest.raises(CredentialUnavailable, match="something else"):
        await live(Secret(exec=command)).read()


async def test_a_part_of_a_json_output_can_be_named(tmp_path):
    path = tmp_path / "key"
    path.write_text('{"a": {"token": "inner"}}')
    assert await live(printing(path, json_pointer="/a/token")).read() == "inner"


async def test_a_command_that_cannot_be_run_is_an_error():
    with pytest.raises(CredentialError):
        await live(Secret(exec=("/nowhere/at/all",))).read()


def test_a_command_cannot_be_printed():
    assert "s3cret" not in repr(CommandSecret(Secret(exec=("x", "s3cret")), FakeClock()))


class Other:
    """Another credential."""

    def __init__(self, *outcomes: object) -> None:
        self.token: Token | None = None
        self.outcomes = list(outcomes)

    def ready(self) -> Token | None:
        return self.token

    async def current(self) -> Token:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        self.token = Token(access_token=str(outcome))
        return self.token

    def predecessor(self, young: Token) -> Token | None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        assert refused is self.token
        return await self.current()


async def test_another_credentials_token_is_a_secret():
    other = Other("one", "two")
    secret = live(Secret(credential="app"), tokens_of={"app": other}.__getitem__)
    assert secret.ready() is None
    assert await secret.read(anew=True) == "one"
    assert secret.ready() == "one"
    assert await secret.read(anew=True) == "two"
    assert secret.changes == 0


@pytest.mark.parametrize("error", [CredentialUnavailable("down", retry_after=7), CredentialRefused("no")])
async def test_the_error_of_another_credential_names_it_and_keeps_its_kind(error):
    secret = live(Secret(credential="app"), tokens_of={"app": Other(error)}.__getitem__)
    with pytest.raises(type(error), match=f"credential app has no token: {error.detail}") as caught:
        await secret.read()
    assert getattr(caught.value, "requested", 7) == 7


def nobody(name: str) -> Other:
    pytest.fail(f"{name} was asked for the token that it holds")


class Signing:
    """What signs a token of its own each time."""

    def __init__(self) -> None:
        self.time = ServerTime()
        self.count = 0

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        assert not previous
        self.count += 1
        return TokenResponse(Token(access_token=f"signed-{self.count}"))


async def test_the_token_of_a_credential_that_signs_is_signed_anew_each_time_it_is_read():
    """It is sent as an assertion, and whoever takes it may call the second one a replay."""
    signing = Signing()
    secret = CredentialSecret("app", nobody, {"app": signing}.get)
    assert [await secret.read() for _ in range(3)] == ["signed-1", "signed-2", "signed-3"]
    assert secret.time is signing.time
    assert CredentialSecret("other", nobody, {"app": signing}.get).time is None


async def test_a_key_that_cannot_sign_is_told_by_the_credentials_name():
    class Broken(Signing):
        async def fetch(self, previous: TokenPair) -> TokenResponse:  # noqa: ARG002 - the interface
            raise CredentialRefused("The key cannot sign with RS256")

    with pytest.raises(CredentialRefused, match="credential app has no token: The key cannot sign"):
        await CredentialSecret("app", nobody, {"app": Broken()}.get).read()
