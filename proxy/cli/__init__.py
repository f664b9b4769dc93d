"""The commands. Each is a function that takes parsed arguments and returns an exit code (`codes`).

A room is imported only by the command that needs it, so that `check` and `schema` answer at once.
"""
