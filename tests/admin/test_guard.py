from __future__ import annotations

import base64
import io
import json
import logging
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from support.clock import FakeClock

from proxy.admin.guard import ANYWHERE, LOOPBACK, Guards, address_allowed, numeric
from proxy.admin.jwks import KeySets
from proxy.admin.ports import CredentialView
from proxy.config.schema import UpdateGuard, UpdateGuardJwt
from proxy.errors import ConfigurationError

EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
SHORT = rsa.generate_private_key(65537, 1024)
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = ec.generate_private_key(ec.SECP256R1())


def _jwk(form, key, **members):
    return {**form.to_jwk(key.public_key(), as_dict=True), **members}


class Shelf(KeySets):
    """Keys as if fetched."""

    def __init__(self, *keys) -> None:
        super().__init__(FakeClock())
        self.keys = list(keys)
        self.asked = 0

    async def find(self, _, kid, __=None):
        self.asked += 1
        return [key for key in self.keys if kid is None or key.get("kid") == kid]


KEYS = (
    _jwk(ECAlgorithm, EC, kid="ec"),
    _jwk(RSAAlgorithm, RSA, kid="rsa"),
    _jwk(RSAAlgorithm, SHORT, kid="short"),
    _jwk(OKPAlgorithm, ED, kid="ed", use="sig", alg="EdDSA"),
)


def _entry(secret=None, **guard):
    return CredentialView(type="external", update=UpdateGuard(**guard), update_secret=secret and (lambda: secret))


def _jwt_entry(claims=None, algorithms=("RS256", "PS256", "ES256", "EdDSA")):
    wanted = UpdateGuardJwt(
        jwks_uri="https://issuer.example/jwks",
        issuer="https://issuer.example",
        audience="sidecar",
        claims={"sub": "refresher"} if claims is None else claims,
        algorithms=algorithms,
    )
    return _entry(jwt=wanted)


def _claims(**changed):
    claims = {
        "iss": "https://issuer.example",
        "aud": "sidecar",
        "sub": "refresher",
        "exp": FakeClock().wall() + 60,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _bearer(claims=None, key=EC, algorithm="ES256", kid="ec"):
    return "Bearer " + jwt.encode(claims or _claims(), key, algorithm, headers={"kid": kid} if kid else None)


async def _admits(
    entry, authorization="", inner="", *, address="127.0.0.1", keys=None, allow_from=LOOPBACK, among=None
):
    guards = Guards(FakeClock(), keys or Shelf(*KEYS), allow_from=allow_from)
    among = among if among is not None else [] if entry is None else [entry]
    return await guards.admits(entry, among, address=address, authorization=authorization, inner_secret=inner)


async def test_the_secret_opens_as_a_bearer_or_within_the_body():
    assert await _admits(_entry("right"), "Bearer right")
    assert await _admits(_entry("right"), "", "right")
    assert await _admits(_entry("right"), "Bearer wrong", "right")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "right", "Basic OnJpZ2h0", "Bearer right x"])
async def test_anything_else_does_not(authorization):
    assert not await _admits(_entry("right"), authorization)


async def test_a_name_that_does_not_exist_admits_nobody():
    for guess in ("", "None", "right"):
        assert not await _admits(None, f"Bearer {guess}", guess)


async def test_a_credential_without_a_guard_admits_nobody():
    for guess in ("", "None"):
        assert not await _admits(CredentialView(type="oauth2"), f"Bearer {guess}", guess)


async def test_a_secret_that_cannot_be_read_admits_nobody(caplog):
    def unreadable():
        raise ConfigurationError("update.secret: no such file")

    entry = CredentialView(type="external", update=UpdateGuard(), update_secret=unreadable)

    assert not await _admits(entry, "Bearer ", "")
    assert "cannot be read" in caplog.text


async def test_an_empty_secret_admits_nobody():
    assert not await _admits(
        CredentialView(type="external", update=UpdateGuard(), update_secret=lambda: ""), "Bearer ", ""
    )


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(EC, "ES256", "ec"), (RSA, "RS256", "rsa"), (RSA, "PS256", "rsa"), (ED, "EdDSA", "ed"), (EC, "ES256", None)],
)
async def test_a_jwt_of_the_issuer_opens(key, algorithm, kid):
    assert await _admits(_jwt_entry(), _bearer(key=key, algorithm=algorithm, kid=kid))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": "other"},
        {"sub": None},
        {"sub": ["refresher"]},
        {"exp": None},
        {"exp": FakeClock().wall()},
        {"exp": "soon"},
        {"nbf": FakeClock().wall() + 61},
        {"iat": FakeClock().wall() + 61},
        {"nbf": "soon"},
    ],
)
async def test_every_claim_must_be_right(changed):
    assert not await _admits(_jwt_entry(), _bearer(_claims(**changed)))


@pytest.mark.parametrize("changed", [{"aud": ["x", "sidecar"]}, {"nbf": FakeClock().wall() + 59}, {"extra": 1}])
async def test_what_the_standard_allows_is_allowed(changed):
    assert await _admits(_jwt_entry(), _bearer(_claims(**changed)))


@pytest.mark.parametrize("claims", [{"admin": 1}, {"roles": {"a": 1}}, {"level": "1"}])
async def test_a_claim_has_the_wanted_type_too(claims):
    wanted = {name: {"a": True} if name == "roles" else True if name == "admin" else 1 for name in claims}
    assert await _admits(_jwt_entry(wanted), _bearer(_claims(**wanted)))
    assert not await _admits(_jwt_entry(wanted), _bearer(_claims(**claims)))


async def test_an_expired_jwt_is_judged_by_our_own_clock():
    assert time.time() < FakeClock().wall()
    assert not await _admits(_jwt_entry(), _bearer(_claims(exp=time.time() + 60)))


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(OTHER, "ES256", "ec"), (EC, "ES256", "unknown"), (EC, "ES256", "rsa"), (SHORT, "RS256", "short")],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_another_key_does_not_open(key, algorithm, kid):
    assert not await _admits(_jwt_entry(), _bearer(key=key, algorithm=algorithm, kid=kid))


async def test_only_listed_algorithms_open():
    assert not await _admits(_jwt_entry(algorithms=("ES256",)), _bearer(key=RSA, algorithm="RS256", kid="rsa"))


@pytest.mark.parametrize("algorithms", [("HS256", "RS256"), ("HS256",), ("none",), ()])
async def test_a_public_key_is_no_shared_secret(algorithms):
    """The classic confusion: HS256 keyed with the text of the RSA key, and a shared key in the set."""
    secret = "0123456789abcdef0123456789abcdef"
    shared = {"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "kid": "shared"}
    forged = "Bearer " + jwt.encode(_claims(), secret, "HS256", headers={"kid": "shared"})
    unsigned = "Bearer " + jwt.encode(_claims(), None, "none", headers={"kid": "ec"})

    for token in (forged, unsigned):
        assert not await _admits(_jwt_entry(algorithms=algorithms), token, keys=Shelf(*KEYS, shared))


@pytest.mark.parametrize("members", [{"use": "enc"}, {"alg": "ES384"}])
async def test_a_key_for_another_use_does_not_open(members):
    keys = Shelf(_jwk(ECAlgorithm, EC, kid="ec", **members))

    assert not await _admits(_jwt_entry(), _bearer(), keys=keys)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k", "kid", "alg", "use"]),
            st.one_of(st.text(), st.integers(), st.sampled_from(["EC", "RSA", "OKP", "P-256", "ec", "ES256", "AQAB"])),
        )
    )
)
async def test_a_broken_key_set_opens_nothing(keys):
    assert not await _admits(_jwt_entry(), _bearer(kid=None), keys=Shelf(*keys))


@given(st.text())
async def test_what_is_no_jwt_opens_nothing_and_fetches_nothing(text):
    keys = Shelf(*KEYS)

    assert not await _admits(_jwt_entry(), f"Bearer {text}", text, keys=keys)
    assert keys.asked == 0


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(
        ["ES256", "RS256", "none", "HS256", "ec", "sidecar", "refresher", "https://issuer.example", "b64"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _forged(header, claims, key=EC):
    """A JWS of the right key around whatever is given."""
    octets = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    head, body = (base64.urlsafe_b64encode(part).rstrip(b"=") for part in octets)
    form = ECAlgorithm(ECAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(form.sign(head + b"." + body, key)).rstrip(b"=")
    return "Bearer " + b".".join((head, body, signature)).decode()


async def _refused_as_usual(entry, authorization, **how):
    """Refused, and not because something went wrong on the way."""
    records = io.StringIO()
    handler = logging.StreamHandler(records)
    logger = logging.getLogger("auth_sidecar.admin")
    logger.addHandler(handler)
    try:
        return not await _admits(entry, authorization, **how) and not records.getvalue()
    finally:
        logger.removeHandler(handler)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5u"]), _JSON) | _JSON)
@example({"alg": ["ES256"]})
@example({"alg": {"a": 1}})
@example({"alg": "ES256", "kid": {}})
@example({"alg": "ES256", "kid": ["ec"]})
@example({"alg": "ES256", "crit": 5})
@example({"alg": "ES256", "kid": "ec", "b64": False})
async def test_a_header_of_any_type_is_an_ordinary_refusal(header):
    claims = _claims(sub="other")

    for entry in (_jwt_entry(), _entry("right"), None):
        assert await _refused_as_usual(entry, _forged(header, claims), among=[_jwt_entry()])


@given(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "jti"]), _JSON)
@example("aud", {"sidecar": 1})
@example("aud", [["sidecar"]])
@example("exp", float("inf"))
@example("exp", float("nan"))
@example("exp", True)  # noqa: FBT003
@example("iat", "1800000000")
@example("nbf", float("-inf"))
async def test_a_claim_of_any_type_is_an_ordinary_refusal_or_no_matter(name, value):
    token = _forged({"alg": "ES256", "kid": "ec"}, {**_claims(), name: value})
    moment = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    right = {
        "iss": value == "https://issuer.example",
        "aud": value == "sidecar" or (isinstance(value, list) and "sidecar" in value),
        "sub": value == "refresher",
        "exp": moment and value > FakeClock().wall(),
        "nbf": moment and value <= FakeClock().wall() + 60,
        "iat": moment and value <= FakeClock().wall() + 60,
        "jti": True,
    }[name]

    if right:
        assert await _admits(_jwt_entry(), token)
    else:
        assert await _refused_as_usual(_jwt_entry(), token)


@given(_JSON)
async def test_claims_that_are_no_object_are_an_ordinary_refusal(claims):
    assert await _refused_as_usual(_jwt_entry(), _forged({"alg": "ES256", "kid": "ec"}, claims))


@pytest.mark.parametrize(
    "part", [b"[" * 20_000, b'{"alg":' * 4000, b"1" * 5000, b"\xff", b"", b"nul", b'{"exp":1e999}']
)
async def test_json_that_breaks_readers_is_an_ordinary_refusal(part):
    good = {"alg": "ES256", "kid": "ec"}
    for token in (_forged(part, _claims()), _forged(good, part)):
        assert await _refused_as_usual(_jwt_entry(), token)


@given(st.text(st.characters(), max_size=30))
@example("\ud800.\ud800.\ud800")
@example("right\udcff")
async def test_a_bearer_of_any_characters_is_an_ordinary_refusal(text):
    for entry in (_jwt_entry(), _entry("right"), None):
        assert await _refused_as_usual(entry, f"Bearer {text}x", inner=text + "x", among=[_jwt_entry()])


class Breaking(Shelf):
    async def find(self, *_):
        raise ZeroDivisionError


async def test_what_goes_wrong_while_a_guard_is_judged_is_a_refusal_told_once(caplog):
    guards = Guards(FakeClock(), Breaking(), allow_from=LOOPBACK)
    entry = _jwt_entry()
    for _ in range(3):
        assert not await guards.admits(
            entry, [entry], address="127.0.0.1", authorization=_bearer(), inner_secret="s3cret"
        )

    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == ["ZeroDivisionError"]
    assert "Traceback" not in caplog.text


class Books(KeySets):
    """Notes which key sets are asked for, and in which order."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.asked: list[str] = []

    async def find(self, uri, *_):
        self.asked.append(uri)
        return list(KEYS) if uri == "https://issuer.example/jwks" else []


def _elsewhere(uri, **guard):
    wanted = UpdateGuardJwt(jwks_uri=uri, issuer="https://o", audience="o", claims={"sub": "o"}, algorithms=("ES256",))
    return CredentialView(type="external", update=UpdateGuard(jwt=wanted, **guard), update_secret=lambda: "right")


async def test_a_refusal_asks_the_same_key_sets_whatever_the_name():
    own, other, secret = _jwt_entry(), _elsewhere("https://other.example/jwks"), _entry("right")
    far = _elsewhere("https://far.example/jwks", allow_from=("10.0.0.0/8",))
    among = [own, other, secret, far]
    for address, expected in [("127.0.0.1", 2), ("10.0.0.1", 1), ("192.0.2.1", 0)]:
        asked = []
        for entry in (own, other, secret, far, None):
            books = Books()
            assert not await _admits(entry, _bearer(_claims(sub="other")), address=address, keys=books, among=among)
            asked.append(sorted(books.asked))

        assert [len(uris) for uris in asked] == [expected] * 5
        assert all(uris == asked[0] for uris in asked)


async def test_a_right_token_waits_for_no_other_issuer():
    own, books = _jwt_entry(), Books()

    assert await _admits(own, _bearer(), keys=books, among=[_elsewhere("https://other.example/jwks"), own])
    assert books.asked == ["https://issuer.example/jwks"]


async def test_from_an_address_that_is_not_allowed_no_keys_are_fetched_and_no_guard_opens():
    entry = CredentialView(
        type="external",
        update=UpdateGuard(jwt=_jwt_entry().update.jwt, allow_from=("10.0.0.0/8",)),
        update_secret=lambda: "right",
    )
    books = Books()

    assert not await _admits(entry, _bearer(), keys=books)
    assert not await _admits(entry, "Bearer right", "right", keys=books)
    assert books.asked == []


async def test_either_guard_suffices():
    entry = CredentialView(type="external", update=_jwt_entry().update, update_secret=lambda: "right")

    assert await _admits(entry, "Bearer right")
    assert await _admits(entry, _bearer())
    assert await _admits(entry, _bearer(_claims(sub="other")), "right")


async def test_the_right_guard_fetches_no_keys():
    entry = CredentialView(type="external", update=_jwt_entry().update, update_secret=lambda: "right")
    keys = Shelf()
    await _admits(entry, "Bearer right", keys=keys)

    assert keys.asked == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_on_the_admin_listener_loopback_may_push(address):
    assert await _admits(_entry("right"), "Bearer right", address=address)


@pytest.mark.parametrize("address", ["10.0.0.1", "::2", "::ffff:10.0.0.1", "", "unix"])
async def test_on_the_admin_listener_others_may_not(address):
    assert not await _admits(_entry("right"), "Bearer right", address=address)


@pytest.mark.parametrize("address", ["10.0.0.1", "2001:db8::1", "fe80::1%eth0"])
async def test_on_the_update_listener_anybody_with_the_guard_may(address):
    assert await _admits(_entry("right"), "Bearer right", address=address, allow_from=ANYWHERE)
    assert not await _admits(_entry("right"), "Bearer wrong", address=address, allow_from=ANYWHERE)


@pytest.mark.parametrize("default", [LOOPBACK, ANYWHERE])
async def test_a_list_of_its_own_decides_on_both_listeners(default):
    entry = _entry("right", allow_from=("10.1.0.0/16", "192.0.2.7"))
    answers = [
        await _admits(entry, "Bearer right", address=address, allow_from=default)
        for address in ("10.1.2.3", "192.0.2.7", "::ffff:10.1.2.3", "192.0.2.8", "127.0.0.1")
    ]

    assert answers == [True, True, True, False, False]


@given(st.ip_addresses(), st.text())
def test_no_list_allows_nobody_and_nonsense_is_nobody(address, text):
    assert not address_allowed(str(address), ())
    assert address_allowed(str(address), ANYWHERE)
    if not any(character.isalnum() for character in text):
        assert address_allowed(text, ANYWHERE) == (text == "::")


def test_the_keys_of_these_tests_are_public():
    assert not any("d" in key for key in json.loads(json.dumps(KEYS)))


@pytest.mark.parametrize(
    ("address", "spelled"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_has_one_spelling(address, spelled):
    assert numeric(address) == spelled
