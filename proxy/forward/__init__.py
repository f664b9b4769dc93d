"""The data path: octets in, octets out. Its law: no task, no future and no timer per request while a token is at hand.

A request, from top to bottom:

proxy_server      listeners, connections, the one timer for deadlines
router            who may come in, and which route it is               caller_guard, cors
downstream        an app's connection, one request after the other
live_route        a route made ready                                   rate_limiter
exchange          one request there and back: the state machine
outgoing_request  whose token, which attempt, what its answer means    request_body
outbound          what may cross, and the credential over what is sent
retry_policy      when it is refused: held, and decided                renewal_hold
relay             the answer for the app                               response_tap, response_rewriter, url_rewriter,
                                                                       links, json_scanner
upstream          a connection to an API, its answers read strictly    reading (its state), owner,
                                                                       response_handler (whom it tells)

pool, dial, resolver, egress, tls_client, sessions                     how connections to an origin come about
private                                                                connections that carry one caller's identity
directory, upstream_discovery, directory_errors                        where a route leads that is looked up
token_upstream                                                         where one leads that its token names
tunnel, upgrade                                                        after a 101
splice, malloc_tuning, buffers                                         long bodies, slow sides
write_batcher                                                          what is written in one turn goes out together
flow_control                                                           back-pressure
lingering_close, socket_probe                                          how connections end
socket_file                                                            whose the file of a unix socket is
descriptors                                                            what there are file descriptors for
own_answers                                                            what the sidecar says itself

No file knows one above it: `ProxyServer` is a `Context` to what is below (context), an app's connection an
`AppConnection` to its exchange (app_connection), a pool the `Owner` of its connections (owner), an exchange their
`ResponseHandler` (response_handler). The floors are a table in `tests/test_architecture.py`.
"""
