"""Chaos: replicas that share one rotating grant, an issuer that withdraws it at a refresh token's second use.

test_gaps     a replica is killed, or stopped for longer than its lease, in each gap between two steps of a renewal
test_store    Redis is killed, paused, emptied and failed over by Sentinel; replicas are killed and stopped. Under load
fleet         the replicas: the installed program, each behind taps of its own; the issuer, the API and the callers
tap           stands between one replica and one server, names what passes, and holds it in a gap
api           the API behind the replicas: knows which tokens are good, and who sent which
callers       ask without end, and note how it went
journal       what happened, and whether it may have happened                                                  (pure)

Nothing in the program takes part in this: gaps are made from outside, where its octets pass.
"""
