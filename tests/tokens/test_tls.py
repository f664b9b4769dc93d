from __future__ import annotations

import os
import ssl

import pytest
from support.tls import Authority

from proxy.config.schema import ClientTls
from proxy.errors import ConfigurationError
from proxy.tokens.tls import FollowedTls, client_context


def test_without_options_the_systems_authorities_are_trusted_and_everything_is_verified():
    context = client_context(ClientTls())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_the_least_version_can_be_raised():
    assert client_context(ClientTls(min_version="1.3")).minimum_version is ssl.TLSVersion.TLSv1_3


def test_what_is_no_certificate_is_named(tmp_path):
    path = tmp_path / "junk.pem"
    path.write_text("junk")
    for tls in (ClientTls(ca_file=str(path)), ClientTls(cert_file=str(path), key_file=str(path))):
        with pytest.raises(ConfigurationError, match=r"junk\.pem"):
            client_context(tls)


def test_an_encrypted_key_is_refused_instead_of_asking_at_a_terminal(tmp_path):
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    certificate, _ = Authority().client().write(tmp_path, "client")
    key = tmp_path / "encrypted.key"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(ConfigurationError, match="cannot be used"):
        client_context(ClientTls(cert_file=str(certificate), key_file=str(key)))


def test_a_certificate_that_is_replaced_is_used_from_then_on(tmp_path, caplog):
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority().certificate)
    followed = FollowedTls(ClientTls(ca_file=str(path), server_name="n"))
    first = followed.current()
    assert followed.current() is first
    path.write_bytes(Authority("another").certificate)
    os.utime(path, ns=(1, 1))
    second = followed.current()
    assert second is not first
    path.write_text("half a certifica")
    os.utime(path, ns=(2, 2))
    assert followed.current() is second
    assert followed.current() is second
    assert caplog.text.count("the last good certificate stays in use") == 1
    path.unlink()
    assert followed.current() is second
    assert followed.server_name == "n"
