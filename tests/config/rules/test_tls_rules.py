"""TLS: certificates come with their keys, and the files are there."""

from __future__ import annotations

import os

import pytest
from support.full_file import SMALLEST, errors_of


@pytest.mark.parametrize(
    ("tls", "path", "said"),
    [
        ("{cert_file: good}", "cert_file", "needs `key_file`"),
        ("{key_file: good}", "key_file", "needs `cert_file`"),
        ("{ca_file: nowhere}", "ca_file", "does not exist"),
        ("{ca_file: .}", "ca_file", "no regular file"),
        ("{ca_file: locked}", "ca_file", "cannot be read"),
        ("{server_name: 'a b'}", "server_name", "no host name"),
        ("{server_name: 'https://a'}", "server_name", "no host name"),
        ("{min_version: 1.2}", "min_version", 'quote it: "1.2"'),
        ("{min_version: '1.1'}", "min_version", "1.2 or 1.3"),
    ],
)
def test_tls_that_cannot_work_is_refused_with_its_place(tmp_path, tls, path, said):
    (tmp_path / "good").write_text("pem")
    locked = tmp_path / "locked"
    locked.write_text("pem")
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # root reads everything but a loop
        locked.unlink()
        locked.symlink_to(locked)
        said = "does not exist" if said == "cannot be read" else said
    errors = errors_of(SMALLEST.replace("    credential: crm\n", f"    credential: crm\n    tls: {tls}\n"), tmp_path)
    assert [error.path for error in errors] == [f"routes[0].tls.{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


def test_a_listener_needs_certificate_and_key():
    errors = errors_of(SMALLEST + "listen: {address: '127.0.0.1:1', tls: {cert_file: x}}\n")
    assert [error.path for error in errors] == ["listen[0].tls.key_file", "listen[0].tls.cert_file"]
