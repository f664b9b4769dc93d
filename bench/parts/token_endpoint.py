"""A token endpoint for client_credentials that always hands out the same token, for an hour.

Usage: token_endpoint.py PORT TOKEN
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Reads and forgets the request, answers with the token."""

    protocol_version = "HTTP/1.1"
    token = ""

    def do_POST(self) -> None:
        """POST, to whatever path."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kind = "DPoP" if "DPoP" in self.headers else "Bearer"
        answer = {"access_token": self.token, "token_type": kind, "expires_in": 3600}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing to say."""


if __name__ == "__main__":
    Handler.token = sys.argv[2]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
