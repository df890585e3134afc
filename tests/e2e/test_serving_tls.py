"""TLS of the server's own, for HTTP and gRPC: certificates, their renewal, and clients that must have one."""

import http.client
import json
import shutil
import ssl
import urllib.error
import urllib.request

import grpc
import pytest

from tests.certificates import Authority
from tests.load import read_row
from tests.servers import free_port, model_server, wait_until


def options(files: tuple, *more: str) -> tuple[str, ...]:
    return (
        "--model",
        "artifacts/model",
        "--set",
        f"serving.tls.certificate={files[0]}",
        "--set",
        f"serving.tls.key={files[1]}",
        *more,
    )


def find_name(port: int, context: ssl.SSLContext) -> str:
    """Return the name in the certificate of a new connection."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    subject = connection.sock.getpeercert()["subject"]
    connection.close()
    return dict(pair[0] for pair in subject)["commonName"]


def ask_live(port: int, authority: Authority, own: tuple | None = None) -> bytes:
    pair = [file.read_bytes() for file in reversed(own)] if own else [None, None]
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), *pair)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)


def test_both_ports_speak_tls_and_take_over_a_renewed_certificate(trained_project):
    authority = Authority(trained_project)
    files, port = authority.issue("first"), free_port()
    context = ssl.create_default_context(cafile=authority.file)
    row = json.dumps(read_row(trained_project / "artifacts" / "model")).encode()
    with model_server(
        trained_project, *options(files, "--set", f"serving.grpc_port={port}", "--workers", "2"), context=context
    ) as server:
        url = f"https://127.0.0.1:{server.port}"
        for body in (row, b"[" + b",".join([row] * 200) + b"]"):
            request = urllib.request.Request(f"{url}/predict", body, {"content-type": "application/json"})
            assert json.load(urllib.request.urlopen(request, context=context, timeout=20))["predictions"]
        assert find_name(server.port, context) == "first"
        assert ask_live(port, authority) == b"\x08\x01"
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/ping", timeout=20)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{url}/ping", context=ssl.create_default_context(), timeout=20)
        late = urllib.request.Request(f"{url}/predict", row, {"content-type": "application/json", "content-length": "99999999"})
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(late, context=context, timeout=20)
        for new, old in zip(authority.issue("second"), files, strict=True):
            shutil.copyfile(new, old)
        wait_until(lambda: {find_name(server.port, context) for _ in range(6)} == {"second"}, 20)
        assert ask_live(port, authority) == b"\x08\x01"
    assert "the certificate was renewed" in server.read_log()
    assert "Traceback" not in server.read_log()


def test_clients_must_have_a_certificate_where_authorities_are_named(trained_project):
    authority, port = Authority(trained_project), free_port()
    own = authority.issue("client")
    anybody, known = (ssl.create_default_context(cafile=authority.file) for _ in range(2))
    known.load_cert_chain(*own)
    more = ("--set", f"serving.tls.client_ca={authority.file}", "--set", f"serving.grpc_port={port}")
    with model_server(trained_project, *options(authority.issue("server"), *more), context=known) as server:
        assert find_name(server.port, known) == "server"
        with pytest.raises((OSError, http.client.HTTPException)):
            find_name(server.port, anybody)
        assert ask_live(port, authority, own) == b"\x08\x01"
        with pytest.raises(grpc.RpcError):
            ask_live(port, authority)
