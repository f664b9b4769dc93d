"""The data path: octets in, octets out. Its law: no task, no future and no timer per request while a token is at hand.

A request, from top to bottom:

front      listeners, connections, the one timer for deadlines    site, callers, cors        who may come in
server     an app's connection, one request after the other       lane, rate                 its route, made ready
exchange   one request there and back                             renewals, held             when it is refused
outgoing   what is known of it
asking     the way there: token, connection, body                 upload                     the body
outbound   what may cross, and the credential over what is sent   lesson                     who learns from answers
answering  the way back                                           relink, rewrite, links     links in answers
                                                                  json_scanner               and where they stand
upstream   a connection to an API, its answers read strictly      asker, owner               whom it tells, whose it is

pool, dial, resolver, egress, tls_client, sessions                how connections to an origin come about
directory, signpost, faults                                       where a route leads that is looked up
tunnel     after a 101                                            passage, memory, buffers   long bodies, slow sides
outbox     what is written in one turn goes out together          flow                       back-pressure
farewell, last_words                                              how connections end
socket_file                                                       whose the file of a unix socket is
descriptors                                                       what there are file descriptors for
own_answers                                                       what the sidecar says itself

No file knows one above it: `Front` is a `Context` to what is below (context), an app's connection an `AppConnection`
to its exchange (app_connection), a pool the `Owner` of its connections (owner), an exchange their `Asker` (asker).
"""
