"""`auth-sidecar init`: a small configuration to start from."""

from __future__ import annotations

import argparse
import sys

from proxy.cli.codes import FAILED, GOOD

TEMPLATE = """\
# auth-sidecar. Your app asks for http://127.0.0.1:8080/crm/…, and the request leaves for
# https://api.crm.example/v2/… with a fresh token. Change the lines below, then: auth-sidecar check --online

listen: 127.0.0.1:8080

routes:
  - match: /crm                                # the path that your app asks for
    upstream: https://api.crm.example/v2       # where it leads
    credential: crm                            # what it is sent with, from below

credentials:
  crm:
    type: oauth2
    grant_type: client_credentials
    token_endpoint: https://login.crm.example/oauth2/token   # or issuer: https://login.crm.example
    client_id: my-app
    client_secret: {env: CRM_CLIENT_SECRET}    # or {file: path}; never the secret itself
#    scope: read write

# A key instead of a token:
#  key: {type: header, name: X-Api-Key, value: {env: API_KEY}}

# Status page, metrics and health probes: http://127.0.0.1:9901
admin:
  listen: 127.0.0.1:9901
"""


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if the file exists already or cannot be written."""
    try:
        with arguments.config.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        print(f"{arguments.config} is there already, and stays as it is", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"{arguments.config} cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
    print(f"{arguments.config} written; now change it, and see what `auth-sidecar check` says")
    return GOOD
