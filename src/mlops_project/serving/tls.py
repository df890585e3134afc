"""TLS of this server's own, from files that are read again when they are renewed."""

import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from mlops_project.errors import ConfigError

HANDSHAKE_SECONDS = 10.0  # for a client that connects and then says nothing
SHUTDOWN_SECONDS = 5.0

logger = logging.getLogger(__name__)


class TlsFiles(NamedTuple):
    """PEM files: the certificate with its chain, its key, and whose certificates clients must have; None: they need none."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file does, also when links lead to another one, as in Kubernetes."""
        files = [file for file in self if file is not None]
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in (file.stat() for file in files))


class Tls:
    """The certificate that new connections get.

    Parameters
    ----------
    files
        Where it is.

    Attributes
    ----------
    context
        For the HTTP port; what is renewed goes into it, so new connections have it.

    Raises
    ------
    ConfigError
        If the files cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self.context = build_context(files)
        self._stamp = files.read_stamp()

    def renew(self) -> bool:
        """Take over files that changed; return whether that was done. What is wrong is logged once, and the old ones stay."""
        try:
            stamp = self.files.read_stamp()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            build_context(self.files)  # the key may not belong to the certificate, as long as only one of them was written
            self.context.load_cert_chain(self.files.certificate, self.files.key)
            if self.files.client_ca is not None:
                self.context.load_verify_locations(self.files.client_ca)
        except (OSError, ConfigError) as error:
            logger.error("the renewed certificate cannot be used, the old one stays: %s", error)  # noqa: TRY400 - said in full
            return False
        logger.info("the certificate was renewed: %s", self.files.certificate)
        return True


def build_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a server with these files.

    Raises
    ------
    ConfigError
        If they cannot be used; names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and later
    context.set_alpn_protocols(["http/1.1"])
    for name, file in zip(("certificate", "key", "client_ca"), files, strict=True):
        if file is not None and not file.is_file():
            raise ConfigError(f"serving.tls.{name}: {file}: no such file; mend the path")
    try:
        context.load_cert_chain(files.certificate, files.key, password=_refuse_password)
    except (OSError, ValueError) as error:
        what = f"{files.certificate} and {files.key} are no certificate and its key in PEM, without a password"
        raise ConfigError(f"serving.tls: {what}: {error}") from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"serving.tls.client_ca: {files.client_ca}: holds no certificate in PEM: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_password() -> str:
    raise ValueError("the key asks for a password")  # OpenSSL would ask the terminal for it
