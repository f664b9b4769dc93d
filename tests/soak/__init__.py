"""The soak: many clients, a bad day, and a judge who reads everything.

test_soak   puts it together; `make soak` runs it for minutes, `make test` for seconds
order       what a client asks for, and what it therefore must get                      (pure)
wire        heads and bodies of HTTP/1.1, as both ends of the sidecar see them
clients     the callers: each one request after the other, of every kind
upstream    the APIs behind the routes: answer what was ordered, let nobody in without the route's own credential
pusher      brings tokens from outside for the credential that lives on pushes
disturber   revokes, restarts, resets, leaves, reloads, steps the clock
journal     what happened, and whether it may have happened                             (pure)
vitals      memory and descriptors of the sidecar's process
sidecar     the program with a clock that can be stepped
"""
