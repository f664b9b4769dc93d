"""auth-sidecar: a sidecar authenticating reverse proxy. The map of the house, top floor first; imports point downwards.

cli       the commands; each a function that ends in an exit code
app       the life of the program: start, reload, stop
assembly  puts everything together: from configuration to live objects. The only room that knows all others
admin     the control path (aiohttp): health, status, metrics, the guarded update endpoint, the page
forward   the data path: bytes in, bytes out; no task, no future, no timer per request while the token is at hand
sandbox   an embedded authorization server and echo API, to try and to test against
routes    which upstream and which credential a request has
tokens    where tokens come from and when they are renewed. May wait. Never touches the data path
auth      how a request is signed. Pure: time and chance are arguments
http1     HTTP/1.1 grammar and framing, without I/O
problem   what an answer of our own says    stats  what a route has done    peer  who is at the end of a unix socket
service_manager  what systemd is told of our life
clock     time and chance behind one door        defects  mistakes of ours, told without what they said
background  tasks that nobody waits for
config    YAML to frozen structs, every mistake at once with its place
model     the nouns that the rooms hand to each other
errors    everything that can go wrong: who caused it, which status
file_stamp  whether a file was replaced or written to    default_ports  of URLs that name none
"""

__version__ = "0.1.0"
