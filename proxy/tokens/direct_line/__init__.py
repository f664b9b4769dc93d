"""Bot Framework Direct Line 3.0: a token for each conversation, learned from the service's own answers.

traffic   what a request is about, what an answer teaches (pure)
source    a conversation's next token: refreshed while it lives, else had anew from the conversation
book      the conversations that are known: bounded, forgotten when idle, each with a life of its token
picker    which token a request has: its conversation's, or the secret
assembly  all of it for one credential

The law: a call carries the token of its own conversation and never that of another; the secret serves new
conversations, and those without a usable token. An expired token cannot be refreshed, so tokens are renewed ahead of
time, idle or not. Stream URLs hold a token of their own in the query; nobody touches it.
"""
