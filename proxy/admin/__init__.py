"""The control path, on aiohttp: what operators, probes and pushing platforms speak to. Its law: GET changes nothing.

ports       what the admin side may know of the running program, and do to it
applications  the three applications: the admin listener, the health listener, the update listener
server      our aiohttp runner
listener    sockets: who is accepted, for how long, who makes room for whom
connection  one connection: no banner, no traceback, no octet of a malformed request in a log, a deadline for each head
middleware  who may come in: Host, cross-site browsers, the admin bearer; every error as a problem document
admin_errors  what only the admin side answers, as a branch of the tree of errors
health      alive and ready
metrics     the counters as Prometheus text, read at scrape time
status      state and configuration as JSON
control     reload and quit
guard       who may push a token: a secret, a JWT, an address
jwks        the keys of a JWT guard, fetched and kept
throttle    how often a guard may refuse
push        what a pushed document means (pure)
update      the guarded update endpoint
credentials renew now; hand a token to a local caller
page        the same for people
"""
