import contextlib
import logging
import shutil
import socket
import ssl
import threading

import pytest

from mlops_project.errors import ConfigError
from mlops_project.serving.tls import Tls, TlsFiles, build_context
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


def shake(tls: Tls, authority: Authority, own: tuple | None = None) -> str:
    """Return the name in the certificate that a client gets, once it could write to the server and read its answer."""
    client = ssl.create_default_context(cafile=authority.file)
    if own is not None:
        client.load_cert_chain(*own)
    here, there = socket.socketpair()

    def serve() -> None:
        with tls.context.wrap_socket(there, server_side=True) as accepted:
            accepted.sendall(accepted.recv(5))

    server = threading.Thread(target=lambda: _quietly(serve))
    server.start()
    try:
        with client.wrap_socket(here, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"hello")
            assert connection.recv(5) == b"hello"
            return dict(pair[0] for pair in connection.getpeercert()["subject"])["commonName"]
    finally:
        server.join(10)


def _quietly(work) -> None:
    with contextlib.suppress(OSError, ValueError):
        work()


def test_renewed_files_are_used_for_new_connections_and_broken_ones_are_not(authority, tmp_path, caplog):
    files = TlsFiles(*authority.issue("first"))
    tls = Tls(files)
    assert not tls.renew()
    assert shake(tls, authority) == "first"
    second = authority.issue("second")
    shutil.copyfile(second[0], files.certificate)  # the key is not there yet
    with caplog.at_level(logging.ERROR):
        assert not tls.renew()
        assert not tls.renew()
    assert len([record for record in caplog.records if "the old one stays" in record.message]) == 1
    assert shake(tls, authority) == "first"
    shutil.copyfile(second[1], files.key)
    assert tls.renew()
    assert shake(tls, authority) == "second"
    files.key.unlink()
    assert not tls.renew()
    assert shake(tls, authority) == "second"


def test_client_without_a_certificate_of_the_authority_is_refused(authority, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "stranger").issue("client")
    tls = Tls(TlsFiles(*authority.issue("server"), authority.file))
    assert shake(tls, authority, authority.issue("client")) == "server"
    for own in (None, stranger):
        with pytest.raises((OSError, AssertionError)):
            shake(tls, authority, own)


def test_unusable_files_are_named(authority, tmp_path):
    certificate, key = authority.issue("server")
    other = authority.issue("other")[1]
    empty = tmp_path / "empty.pem"
    empty.touch()
    for files, message in [
        ((tmp_path / "none", key), r"serving.tls.certificate: .*none: no such file"),
        ((certificate, tmp_path / "none"), r"serving.tls.key: .*none: no such file"),
        ((certificate, key, tmp_path / "none"), r"serving.tls.client_ca: .*none: no such file"),
        ((certificate, other), "are no certificate and its key"),
        ((empty, key), "are no certificate and its key"),
        ((certificate, key, empty), "client_ca: .*holds no certificate"),
    ]:
        with pytest.raises(ConfigError, match=message):
            build_context(TlsFiles(*files))
