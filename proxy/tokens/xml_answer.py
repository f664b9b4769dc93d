"""XML as the JSON values that pointers lead through. Pure.

An element with elements in it becomes an object by their local names, a list where a name comes more than once; an
element with text alone becomes that text. Attributes are members, named as they are with `@` before it; the text of an
element that has any is its `#text`. Document types and entities are refused (defusedxml): a few lines of them can
expand to gigabytes, or read a file.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

_DEEPEST = 100


def xml_value(body: bytes) -> dict[str, Any] | None:
    """The document as `{root: …}`; None for what is no XML, or is refused."""
    try:
        root = fromstring(body.strip(), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError, RecursionError):
        return None
    return {_local(root.tag): _value(root, _DEEPEST)}


def _value(element: Element, deeper: int) -> Any:
    """The value of an element; what is nested too deeply counts as empty."""
    members: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    for child in element if deeper else ():
        name, value = _local(child.tag), _value(child, deeper - 1)
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    text = (element.text or "").strip()
    if not members:
        return text
    return members | {"#text": text} if text else members


def _local(name: str) -> str:
    return name.rpartition("}")[2]
