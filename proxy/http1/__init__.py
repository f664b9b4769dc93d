"""HTTP/1.1 without I/O: octets in, octets out; no clock, no loop, no state beyond one message. The map, bottom first.

grammar   the alphabet as pieces of patterns, and the one error of whoever breaks it
fields    a header section, scanned once; the values that frame and route
host      who a request is for, and the list of names that are allowed
target    the forms of a request target; whether a path leaves its prefix; query parameters
request   the head of a request
cross_site  whether a page of another site is behind a request
answer    the head of an upstream's answer
chunked   the chunked coding, both ways, and trailers

One grammar, and a strict one (RFC 9112, stricter): what two readers could read differently is refused, and what is
accepted goes on octet for octet.
"""
