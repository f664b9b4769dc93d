"""HTTP/1.1 without I/O: octets in, octets out; no clock, no loop, no state beyond one message. The map, bottom first.

grammar   tokens, values and sections as pieces of patterns, and GrammarError
fields    a header section, scanned once; the fields about framing, connections and routing
host      the Host field, and the list of hosts that are allowed
target    the forms of a request target; whether a path leaves its prefix; query parameters
request   the head of a request
cross_site  whether a request comes from a page of another site
answer    the head of an upstream's answer
chunked   the chunked coding, both ways, and trailers
repeats   a cache of heads that come again

The grammar is stricter than RFC 9112: what two parsers could read differently is refused, and what is accepted is
forwarded octet for octet.
"""
