"""One file per origin of tokens. A source asks and reads; when to ask is the manager's business.

issuer     an OAuth 2 token endpoint (discovery finds it)    exec       a command that prints an ExecCredential
http       any other token API, by templates and pointers    external   nobody: such tokens are pushed
jwt        we sign them ourselves                            python     the operator's own code, asked per request

Direct Line's conversations have a room of their own: `tokens/direct_line`.
"""
