"""The sandbox: an authorization server and an echo API in one process, to try the sidecar and to test it against.

It stands where the network stands, so it behaves like the real parts and follows their RFCs; what the real parts do on
a bad day is scripted through `/control`. All state is in memory, every token is random, time comes from an injected
clock.
The sidecar never imports it: the two meet on a socket.

server                the listener: paths to handlers; start and stop
state                 what the handlers share
authorization_server  the token endpoint and its neighbours: metadata, keys, introspection, revocation
grants                which token a grant deserves, by grant type                            (pure)
echo_api              what an API would be: answers what it was asked, once the token is valid
control               the script's door: settings, faults, clients, counters
ledger                every token that was issued, and what became of it                     (pure)
clients               who may ask for tokens, and how a client proves itself                 (pure)
assertions            signed JWTs of clients (RFC 7523), each good for one use                (pure)
proofs                DPoP proofs and nonces (RFC 9449)                                       (pure)
refusal               how the authorization server says no                                   (pure)
script                what a test may ask for: settings and faults                           (pure)
counters              how much was asked, and how much at once                               (pure)
scripted_faults       how a scripted fault looks on the wire
"""
