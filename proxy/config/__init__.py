"""The configuration: YAML in, frozen structs out, every mistake at once and with its place. No network, no asyncio.

schema       the file as structs: names, types, defaults
document     text to nodes with places, within bounds; nothing is interpreted
scalars      what a plain word means, and the words that YAML 1.1 and people read differently
substitution `${NAME}` and `${NAME:-default}`
kinds        what the types of the schema take, in words and in tests
words        a word where a number, a boolean, an amount or one of a list is meant
walker       nodes and types to structs, collecting every mistake
parse_context  what is known of one file while it is read: problems, places, what may be shown of it
spelling     did you mean
tree         every value with its path
rules/       what must hold between the keys
address      listeners' addresses and URLs
not_implemented  the keys that this version does not implement yet
effective    defaults that depend on other keys
secrets      the references: env, file, value
redacted     the configuration as people may see it
excerpt      a line of the file under a mistake, secrets masked
report       problems as text and as JSON
json_schema  the same contract for editors
load         all of it in order; the door of this room
"""
