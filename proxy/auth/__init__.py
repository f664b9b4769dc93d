"""How a request is signed. Law: getting a credential may wait, applying it may not.

    scheme.py     the one interface: place, sign, judge
    header.py     a value in a header field (API keys)
    bearer.py     a token in a header field: OAuth 2 and everything that is fetched or pushed
    basic.py      user name and password
    query.py      a value in a query parameter
    oauth1.py     a signature over the request (RFC 5849); base_string.py is what it covers
    dpop.py       a token bound to a key, with a proof per attempt (RFC 9449); nonces.py: what servers asked for
    challenge.py  what a refused answer says
    skew.py       how far our clock is from a server's
    describe.py   what would be sent, for people, without secrets

Pure: no loop, no socket, no clock and no randomness of its own. Time and chance come with every call, as a `Moment`.
"""
