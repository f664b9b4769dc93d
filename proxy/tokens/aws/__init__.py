"""Keys for AWS signatures, wherever a machine has them.

keys.py       what every giver of keys answers, and those that are configured or stand in a shared credentials file
metadata.py   from the container's or the instance's metadata endpoint
sts.py        temporary ones of a role (AssumeRole, AssumeRoleWithWebIdentity)
source.py     any of these as a source of tokens
"""
