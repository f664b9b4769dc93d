"""WHERE tokens come from and WHEN they are renewed. May wait; never touches the data path.

    credential.py    what the data path sees          manager.py            one credential's life
    source.py        the interface of every origin    token_response.py     what an origin gives, and goes on from
    held_token.py    the token that is held, when due
    sources/         one file per origin              cache.py              all tokens that are held, each with its end
    store/           where tokens outlive us          shared_result.py      where everyone waits for the same token
    grant_record.py  what is kept, and its saving     refresh_scheduler.py  starts what is due without traffic
    renewal.py       one renewal, step by step        attempts.py           what may be told
    seed.py          the configured beginning         static_tokens.py      tokens that are given
    secret.py        secrets that must be waited for  per_caller.py         one token per caller or tenant
    command.py       programs that print them

direct_line/ is a source with many tokens: one for each conversation of a chat.

Pure: policy.py (when), backoff.py and renewal_pause.py (when not), edits.py (what happens to a record), lifetime.py
(how long), reply.py (what an answer means), body.py (what is in it), error_codes.py (what a refusal says),
issuer_errors.py (why there is no token), grants.py (what to post), client_auth.py (who asks), template.py (filling in).
The way out: http_client.py, tls.py.
"""
