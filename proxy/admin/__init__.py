"""The control path, on aiohttp, for operators, probes and platforms that push tokens. Its law: GET changes nothing.

ports                 what the admin side may know of the running program, and do to it
applications          the three applications: the admin listener, the health listener, the update listener
admin_server          aiohttp's runner with our own sockets and connections
listener              sockets: which connections are accepted, how long they may be silent, which one makes room
connection            one connection: no banner, no traceback, no malformed request quoted, a deadline for each head
middleware            access control: Host, cross-site browsers, the admin bearer; errors as problem documents
admin_errors          errors that only the admin side answers with
health_endpoints      GET /healthz and /readyz
metrics               GET /metrics: the counters as Prometheus text, read at scrape time
status_endpoints      GET /status and /config: state and configuration as JSON
status_page           GET /: the status page for people
control_endpoints     POST /reload and /quit
credential_endpoints  renew a token now; hand a token to a local caller
update_endpoint       the guarded endpoint that takes pushed tokens
guard                 who may push a token: a secret, a JWT, an address
jwks                  the public keys that JWT guards check with, fetched and kept
throttle              how many refused guards an address may cause
push                  what a pushed document means (pure)
"""
