"""TLS towards issuers: verified always, with the operator's authorities and client certificate where given.

Certificates are short-lived where a mesh hands them out: the files are looked at before each use, and read anew once
they changed. What cannot be read then leaves the last good context in use.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence

from proxy.config.schema import ClientTls
from proxy.errors import ConfigurationError
from proxy.file_stamp import FileStamp, stamp_at

_log = logging.getLogger("auth_sidecar.tokens")


def load_certificate(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    """Present this certificate from now on. Raises OSError, ValueError; an encrypted key fails and asks nobody."""
    context.load_cert_chain(cert_file, key_file, password=lambda: "")


def client_context(tls: ClientTls, protocols: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
    """A context as configured, for what speaks one of `protocols` (ALPN).

    Raises ConfigurationError where a file is missing or is no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # who proves what is settled once, at the beginning
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if tls.cert_file is not None:
            load_certificate(context, tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or "not a certificate, or not its key"
        raise ConfigurationError(f"TLS: {', '.join(filter(None, _files(tls)))} cannot be used: {reason}") from None
    return context


class FollowedTls:
    """A context that follows its files. Raises ConfigurationError from the constructor only."""

    def __init__(self, tls: ClientTls | None, protocols: Sequence[str] = ("http/1.1",)) -> None:
        self._tls = tls or ClientTls()
        self._protocols = protocols
        self._seen = self._look()
        self._context = None if tls is None else client_context(tls, protocols)

    @property
    def server_name(self) -> str | None:
        """The name to ask for and to verify, where it is not that of the URL."""
        return self._tls.server_name

    def current(self) -> ssl.SSLContext:
        """The context of the files as they are now, or as they were when they last were good."""
        if self._context is None:  # the system's authorities take half a megabyte, which http alone does not need
            self._context = client_context(self._tls, self._protocols)
        seen = self._look()
        if seen != self._seen:
            try:
                self._context = client_context(self._tls, self._protocols)
            except ConfigurationError as error:
                _log.warning("%s; the last good certificate stays in use", error)
            self._seen = seen
        return self._context

    def _look(self) -> tuple[FileStamp | None, ...]:
        return tuple(stamp_at(path) if path is not None else None for path in _files(self._tls))


def _files(tls: ClientTls) -> tuple[str | None, ...]:
    return tls.ca_file, tls.cert_file, tls.key_file
