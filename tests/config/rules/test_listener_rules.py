"""Listeners: addresses that can be listened on, each once, and nobody uninvited off loopback."""

from __future__ import annotations

import pytest
from support.full_file import ENVIRON, SMALLEST, errors_of, problems_of

from proxy.config.address import Address
from proxy.config.rules.listener_rules import places
from proxy.config.schema import Admin, Config, Health, Listen


@pytest.mark.parametrize(
    ("lines", "path", "said"),
    [
        ("listen: 8080", "listen[0].address", "a string"),
        ("listen: :8080", "listen[0].address", "host:port"),
        ("listen: localhost", "listen[0].address", "host:port"),
        ("listen: localhost:80800", "listen[0].address", "65535"),
        ("listen: localhost:080", "listen[0].address", "65535"),
        ("listen: ::1:8080", "listen[0].address", "brackets"),
        ("listen: '[::g]:8080'", "listen[0].address", "IPv6"),
        ("listen: 127.0.0.256:80", "listen[0].address", "neither a name"),
        ("listen: http://localhost:80", "listen[0].address", "brackets"),
        ("listen: 'unix:'", "listen[0].address", "no path"),
        ("listen: unix:/" + "x" * 200, "listen[0].address", "octets"),
        ("listen: []", "listen", "empty list"),
        ("listen: [127.0.0.1:80, 127.0.0.1:80]", "listen[1].address", "taken by listen[0].address"),
        ("listen: [127.0.0.1:80, localhost:80]", "listen[1].address", "taken by"),
        ("listen: 127.0.0.1:9901", "listen[0].address", "taken by admin.listen"),
        ("admin: {listen: 127.0.0.1:8080}", "admin.listen", "taken by listen[0].address"),
        ("listen: [unix:/a/s, 127.0.0.1:9901]\nadmin: {}", "listen[1].address", "admin.listen is 127.0.0.1:9901"),
        ("health: {listen: '0.0.0.0:8080'}", "health.listen", "taken by listen"),
        ("listen: [unix:/a/s, unix:/a/../a/s]", "listen[1].address", "taken by"),
        ("listen: 0.0.0.0:8080", "listen[0].address", "other machines"),
        ("listen: '[::]:8080'", "listen[0].address", "other machines"),
        ("listen: sidecar.internal:8080", "listen[0].address", "other machines"),
        ("listen: [unix:/a/s, 10.0.0.1:80]\ncallers: {unix_uids: [1]}", "listen[1].address", "other machines"),
        ("callers: {}", "callers", "names nobody"),
        ("callers: all", "callers", "any"),
        ("callers: {unix_uids: [1]}", "callers.unix_uids", "needs a unix socket: on 127.0.0.1:8080"),
        ("admin: {listen: unix:/a/s}\ncallers: {unix_uids: [0]}", "callers.unix_uids", "needs a unix socket"),
        ("listen: 127.0.0.1:80\ncallers: {unix_uids: [1]}", "listen[0].address", "callers.bearer"),
        ("listen: [unix:/a/s, localhost:80]\ncallers: {unix_uids: [1]}", "listen[1].address", "nobody is asked"),
        ("listen: [unix:/a/s, '[::1]:80']\ncallers: {unix_uids: [0, 1]}", "listen[1].address", "callers: any"),
        ("listen: unix:/a/s\ncallers: {unix_uids: [-1]}", "callers.unix_uids[0]", "0 or more"),
        ("admin: {listen: '0.0.0.0:9901'}", "admin.listen", "needs a bearer"),
        ("admin: {listen: no}", "admin.listen", "string"),
        ("update: {listen: '0.0.0.0:9903'}", "update.listen", "without TLS"),
        ("allowed_hosts: ['http://a']", "allowed_hosts[0]", "no host"),
        ("allowed_hosts: ['a b']", "allowed_hosts[0]", "no host"),
        ("limits: {max_header_size: 1B}", "limits.max_header_size", "1KiB"),
    ],
)
def test_a_listener_that_cannot_be_is_refused_with_its_place(lines, path, said):
    (error,) = errors_of(SMALLEST + lines + "\n")
    assert error.path == path
    assert said in error.message + (error.hint or "")


@pytest.mark.parametrize(
    "lines",
    [
        "listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}",
        "listen: [localhost:80, 127.0.0.2:80, '[fe80::1]:81']\ncallers: any",
        "listen: 0.0.0.0:8080\ncallers: any",
        "listen: 0.0.0.0:8080\ncallers: {bearer: {env: KEY}}",
        "listen: unix:/a/s\ncallers: {unix_uids: [0]}",
        "listen: [unix:/a/s, unix:/a/t]\nadmin: {listen: 127.0.0.1:1}\ncallers: {unix_uids: [0]}",
        "listen: [unix:/a/s, 127.0.0.1:80]\ncallers: {bearer: {env: KEY}, unix_uids: [0]}",
        "listen: [unix:/a/s, 127.0.0.1:80]\ncallers: any",
        "listen: [unix:/a/s, 127.0.0.1:80]",
        "listen: unix:/a/s",
        "admin: {listen: off}",
        'admin: {listen: "off"}',
        "admin: {listen: '0.0.0.0:9901', bearer: {env: KEY}}",
        "admin: {listen: unix:/a/admin}",
        "update: {listen: '0.0.0.0:9903', allow_insecure: true}",
        "update: {listen: unix:/a/u}",
        "health: {listen: '0.0.0.0:9902'}",
        "allowed_hosts: []",
        "allowed_hosts: ['[::1]', '[::1]:80', app.internal:8080]",
    ],
)
def test_a_listener_that_can_be_is_no_mistake(lines):
    assert errors_of(SMALLEST + lines + "\n") == []


def test_uids_without_a_socket_are_a_warning_beside_a_bearer():
    """Alone they would keep nobody out; beside it everybody is asked for something."""
    (problem,) = problems_of(SMALLEST + "callers: {bearer: {env: KEY}, unix_uids: [1]}\n")
    assert (problem.severity, problem.path) == ("warning", "callers.unix_uids")


def test_all_places_are_known_as_far_as_they_are_well_formed():
    config = Config(
        routes=(),
        listen=(Listen(address="127.0.0.1:1"), Listen(address="nonsense")),
        admin=Admin(listen="unix:/a/s"),
        health=Health(listen="[::]:2"),
    )
    assert places(config) == [
        (("listen", 0, "address"), Address("127.0.0.1", 1)),
        (("admin", "listen"), Address("", 0, "/a/s")),
        (("health", "listen"), Address("::", 2)),
    ]


STORED = "store: {type: file, path: state}\n"


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("", ["reuse_port"]),
        (STORED, []),
        (STORED + "listen: [127.0.0.1:1, 'unix:/a/s']\n", ["listen[1].address"]),
        (STORED + "listen: [127.0.0.1:1, 'unix:/a/s-${INSTANCE}']\n", []),
        (STORED + "admin: {listen: 'unix:/a/s'}\n", ["admin.listen"]),
    ],
)
def test_what_several_processes_cannot_share_is_pointed_at(more, warned):
    text = SMALLEST + "reuse_port: true\n" + more
    found = problems_of(text, environ={**ENVIRON, "INSTANCE": "1"})
    assert [(one.severity, one.path) for one in found] == [("warning", path) for path in warned]
    assert problems_of(text.replace("reuse_port: true\n", ""), environ={**ENVIRON, "INSTANCE": "1"}) == []
