"""The port that a URL of a scheme leads to where it names none (RFC 9110 §4.2)."""

DEFAULT_PORTS = {"http": 80, "https": 443}
