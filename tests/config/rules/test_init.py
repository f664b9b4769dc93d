"""Every rule of every subject is asked, whatever the others say."""

from __future__ import annotations

from support.full_file import errors_of


def test_the_mistakes_of_all_subjects_come_together():
    text = """\
listen: 0.0.0.0:80
routes: [{match: a, upstream: 'https://a', tls: {ca_file: nowhere}}]
credentials:
  a: {type: header, name: Host, value: {env: NOWHERE}}
  b: {type: oauth2, client_id: c}
  c: {type: oauth1, consumer_key: k}
  d: {type: external}
"""
    assert [error.path for error in errors_of(text)] == [
        "listen[0].address",
        "routes[0].match.path",
        "routes[0].tls.ca_file",
        "credentials.a.name",
        "credentials.a.value.env",
        "credentials.b",
        "credentials.c",
        "credentials.d",
    ]
