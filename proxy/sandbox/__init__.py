"""The sandbox: an authorization server and an echo API in one process, to try the sidecar and to test it against.

It behaves as the RFCs say; expiry, errors and outages are scripted through `/control`. All state is in memory, every
token is random, time comes from an injected clock. The sidecar never imports it and talks to it over a socket only.

sandbox_server        the listener: paths to handlers; start and stop
state                 what the handlers share
authorization_server  the token endpoint, metadata, keys, introspection, revocation
grant_types           the token that each grant type gives                                   (pure)
echo_api              an API that answers with the request, if its token is valid
control               the endpoints for settings, faults, clients and counters
ledger                the tokens that were issued, used and revoked                          (pure)
clients               the registered clients and their authentication                        (pure)
assertions            signed JWTs of clients (RFC 7523), each good for one use                (pure)
proofs                DPoP proofs and nonces (RFC 9449)                                       (pure)
refusal               error answers of the authorization server                              (pure)
script                the settings and faults that can be scripted                           (pure)
counters              numbers of requests, in all and at the same time                       (pure)
scripted_faults       enacts a scripted fault on a connection
"""
