"""The configuration: YAML in, frozen structs out, every mistake at once and with its place. No network, no asyncio.

schema       the file as structs: names, types, defaults
document     text to nodes with places, within bounds; nothing is interpreted
scalars      what a plain scalar means, and the scalars that YAML 1.1 and people read differently
substitution `${NAME}` and `${NAME:-default}`
kinds        which YAML nodes the types of the schema take, and what these types are called in messages
words        a scalar read as a number, a boolean, an amount with its unit or one of a list
walker       nodes and types to structs, collecting every mistake
parse_context  the state of reading one file: problems, places, what may be shown of it
places       the line and column of the value at a path
spelling     did you mean
tree         every value with its path
rules/       what must hold between the keys
address      listeners' addresses and URLs
upstream_url, origin, no_proxy, json_pointer  other values with a grammar of their own
effective    defaults that depend on other keys
secrets      the references: env, file, value
redacted     the configuration with its secrets masked
excerpt      a line of the file under a mistake, secrets masked
report       problems as text and as JSON
json_schema  the JSON Schema for editors
load         runs all of it in order: the entry point of this package
"""
