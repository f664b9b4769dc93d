"""Who is compared: for each peer, its configuration written into a folder, and the command that starts it.

All do the same to a request: they put one Bearer token into it and pass it on over kept-alive connections. The sidecar
and Envoy get the token from a token endpoint; nginx and the naive proxy are given it. Told so, the sidecar signs
instead: OAuth 1, or DPoP.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from machine import find

HERE = Path(__file__).parent
UPSTREAM_NAME = "upstream.test"
"""The name in the upstream's certificate, which every peer verifies."""


@dataclass(frozen=True)
class Place:
    """Where a peer runs: its folder, its port, and the ports it speaks to. `ca`: the upstream is https.

    `more`: lines for the sidecar's configuration.
    """

    folder: Path
    port: int
    upstream: int
    token_endpoint: int
    token: str
    ca: Path | None
    signs: Literal["bearer", "oauth1", "dpop", "sigv4"] = "bearer"
    more: str = ""

    @property
    def upstream_url(self) -> str:
        """Where requests go."""
        return f"{'https' if self.ca else 'http'}://127.0.0.1:{self.upstream}"


_OAUTH1 = """
    type: oauth1
    consumer_key: bench
    consumer_secret: {env: BENCH_SECRET}
    token: {env: BENCH_TOKEN}
    token_secret: {env: BENCH_SECRET}"""


_SIGV4 = """
    type: aws_sigv4
    service: execute-api
    region: us-east-1
    access_key_id: bench
    secret_access_key: {env: BENCH_SECRET}"""


def _credential(place: Place) -> str:
    return {"oauth1": _OAUTH1, "sigv4": _SIGV4}.get(place.signs) or _oauth2(place)


def _oauth2(place: Place) -> str:
    return f"""
    type: oauth2
    token_endpoint: http://127.0.0.1:{place.token_endpoint}/token
    client_id: bench
    client_secret: {{env: BENCH_SECRET}}
    dpop: {"true" if place.signs == "dpop" else "false"}"""


def sidecar(place: Place) -> list[str | Path]:
    """The program of this repository, as installed beside this interpreter; room for the connections, else defaults."""
    tls = f"\n    tls: {{ca_file: {place.ca}, server_name: {UPSTREAM_NAME}}}" if place.ca else ""
    (place.folder / "config.yaml").write_text(f"""\
listen: 127.0.0.1:{place.port}
admin: {{listen: "unix:{place.folder}/admin"}}
limits: {{max_connections: 4096, max_in_flight: 4096}}
routes:
  - name: bench
    match: /
    upstream: {place.upstream_url}
    credential: bench
    limits: {{max_in_flight: 4096}}{tls}
credentials:
  bench: {_credential(place)}
{place.more}""")
    os.environ["BENCH_SECRET"] = "a secret of the bench"  # noqa: S105 - guards nothing
    os.environ["BENCH_TOKEN"] = "0123456789-" + "aZ" * 20
    return [Path(sys.executable).parent / "auth-sidecar", "serve", "-c", "config.yaml"]


def nginx(place: Place) -> list[str | Path]:
    """One worker, a fixed header."""
    tls = (
        f"proxy_ssl_trusted_certificate {place.ca}; proxy_ssl_verify on; proxy_ssl_name {UPSTREAM_NAME};"
        if place.ca
        else ""
    )
    scheme = "https" if place.ca else "http"
    return run_nginx(
        place.folder,
        f"""\
upstream api {{
    server 127.0.0.1:{place.upstream};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
}}
server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    location / {{
        proxy_pass {scheme}://api;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Authorization "Bearer {place.token}";
        {tls}
    }}
    location /ws/ {{
        proxy_pass http://api;
        proxy_http_version 1.1;
        proxy_set_header Connection upgrade;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Authorization "Bearer {place.token}";
    }}
}}
""",
    )


def run_nginx(folder: Path, servers: str) -> list[str | Path]:
    """One worker of nginx in the foreground, with the given `server` blocks; also the upstream's."""
    paths = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr error;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 8192; multi_accept on; }}
http {{
access_log off;
sendfile on;
tcp_nodelay on;
keepalive_timeout 600s;
keepalive_requests 1000000000;
client_max_body_size 0;
client_body_buffer_size 2m;
proxy_max_temp_file_size 0;
large_client_header_buffers 4 16k;
map_hash_bucket_size 4096;
{paths}
{servers}
}}
""")
    return [find("nginx"), "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


def envoy(place: Place) -> list[str | Path]:
    """One worker, the credential_injector filter with its oauth2 source."""
    typed = "type.googleapis.com/envoy.extensions."

    def cluster(name: str, port: int, ca: Path | None) -> dict[str, object]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        made: dict[str, object] = {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
        if ca:
            names = [{"san_type": "DNS", "matcher": {"exact": UPSTREAM_NAME}}]
            validation = {"trusted_ca": {"filename": str(ca)}, "match_typed_subject_alt_names": names}
            made["transport_socket"] = {
                "name": "tls",
                "typed_config": {
                    "@type": typed + "transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": UPSTREAM_NAME,
                    "common_tls_context": {"validation_context": validation},
                },
            }
        return made

    injector = {
        "@type": typed + "filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {
            "name": "oauth2",
            "typed_config": {
                "@type": typed + "http.injected_credentials.oauth2.v3.OAuth2",
                "token_endpoint": {
                    "cluster": "issuer",
                    "timeout": "5s",
                    "uri": f"http://127.0.0.1:{place.token_endpoint}/token",
                },
                "client_credentials": {"client_id": "bench", "client_secret": {"name": "secret"}},
            },
        },
    }
    manager = {
        "@type": typed + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "api", "timeout": "60s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "injector", "typed_config": injector},
            {"name": "router", "typed_config": {"@type": typed + "filters.http.router.v3.Router"}},
        ],
    }
    chain = {"filters": [{"name": "manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": place.port}}
    secret = {"name": "secret", "generic_secret": {"secret": {"inline_string": "a secret of the bench"}}}
    configuration = {
        "node": {"id": "bench", "cluster": "bench"},
        "static_resources": {
            "secrets": [secret],
            "listeners": [{"name": "in", "address": address, "filter_chains": [chain]}],
            "clusters": [cluster("api", place.upstream, place.ca), cluster("issuer", place.token_endpoint, None)],
        },
    }
    (place.folder / "envoy.json").write_text(json.dumps(configuration))
    binary = next((HERE / ".venv-envoy").glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    return [binary, "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]


def naive(place: Place) -> list[str | Path]:
    """parts/naive_proxy.py on this interpreter."""
    script = HERE / "parts" / "naive_proxy.py"
    ca: list[str | Path] = [place.ca] if place.ca else []
    return [sys.executable, script, str(place.port), place.upstream_url, place.token, *ca]


PEERS: dict[str, Callable[[Place], list[str | Path]]] = {
    "sidecar": sidecar,
    "nginx": nginx,
    "envoy": envoy,
    "naive": naive,
}
