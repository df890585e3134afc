"""The servers behind a real nginx, with the configuration that the examples give."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from mlops_project.stack.services import application_command
from mlops_project.wire import open_inference_pb2 as pb
from tests.load import read_row
from tests.servers import ModelServer, free_port, model_server, plain_environment, wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "proxy" / "nginx.conf"
SETTINGS = ("--set", "serving.root_path=/models-api", "--set", "serving.trusted_proxies=[127.0.0.1]")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Proxied(NamedTuple):
    """nginx's address, its port for gRPC, and the model server behind it."""

    address: str
    grpc_port: int
    server: ModelServer


class Unfollowed(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


@contextlib.contextmanager
def running(command: list[str], folder: Path, name: str) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=plain_environment(), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def nginx(folder: Path, ports: dict[int, int]) -> Iterator[None]:
    """Run nginx with the example's configuration and these ports in place of its own."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    text = re.sub(r"\b(80[08][0-2]|8501)\b", lambda found: str(ports[int(found[0])]), EXAMPLE.read_text())
    places = "".join(f"  {name}_temp_path {folder}/{name};\n" for name in TEMPORARY)
    file = folder / "nginx.conf"
    file.write_text(text.replace("http {\n", f"http {{\n  access_log off;\n{places}", 1))
    options = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-errors.log;"
    with running([program, "-p", str(folder), "-c", str(file), "-g", options], folder, "nginx"):
        wait_until(lambda: _listens(ports[8080]), 20)
        yield


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, trained_artifacts) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    (folder / "pyproject.toml").touch()
    shutil.copytree(trained_artifacts, folder / "artifacts")
    ports = {port: free_port() for port in (8001, 8002, 8080, 8081, 8501)}
    options = ("--model", "artifacts/model", *SETTINGS, "--set", f"serving.grpc_port={ports[8001]}")
    application = application_command("127.0.0.1", str(ports[8501]), root_path="/app")
    with (
        model_server(folder, *options) as server,
        running(list(application), folder, "application"),
        nginx(folder, ports | {8000: server.port}),
    ):
        yield Proxied(f"http://127.0.0.1:{ports[8080]}", ports[8081], server)


def get(url: str, body: object = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"} | headers)
    try:
        with urllib.request.build_opener(Unfollowed).open(request, timeout=20) as answer:
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {key.lower(): value for key, value in error.headers.items()}


@pytest.mark.parametrize("stripped", [True, False])
def test_pages_links_and_description_lead_back_through_the_prefix(proxied, stripped):
    address = proxied.address if stripped else proxied.server.address  # asked itself, the prefix is still on the path
    page = f"{address}/models-api/docs"
    status, body, _ = get(page)
    assert status == 200
    links = re.findall(r'(?:href|src)="([^"]+)"|url: "([^"]+)"', body.decode())
    targets = [urllib.parse.urljoin(page, first or second) for first, second in links]
    assert len(targets) == 4
    for target in targets:
        assert target.startswith(f"{address}/models-api/")
        assert get(target)[0] == 200, target
    assert json.loads(get(f"{address}/models-api/openapi.json")[1])["servers"] == [{"url": "/models-api"}]
    for path in ("/models-api/", *(() if stripped else ("/models-api",))):
        status, _, headers = get(f"{address}{path}")
        assert (status, urllib.parse.urlsplit(headers["location"]).path) == (307, "/models-api/docs")


def test_predictions_of_every_protocol_come_through(proxied):
    row = read_row(proxied.server.folder / "artifacts" / "model")
    expected = get(f"{proxied.server.address}/invocations", {"dataframe_records": [row]})[1]
    for address in (proxied.address, proxied.server.address):
        base = f"{address}/models-api"
        assert get(f"{base}/invocations", {"dataframe_records": [row]})[1] == expected
        (prediction,) = json.loads(get(f"{base}/predict", row)[1])["predictions"]
        assert get(f"{base}/feedback", {"id": prediction["id"], "label": prediction["label"]})[0] == 200
        assert get(f"{base}/predict?x=1", row)[0] == 200
        assert get(f"{base}/v2/models/nobody")[0] == 404
    assert get(f"{proxied.server.address}/models-apis/predict", row)[0] == 404
    request = pb.ModelInferRequest()
    for name, value in row.items():
        request.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    with grpc.insecure_channel(f"127.0.0.1:{proxied.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        said = pb.ModelInferResponse.FromString(call(request.SerializeToString(), timeout=20))
        assert list(said.outputs[0].contents.int64_contents) == json.loads(expected)["predictions"]
        with pytest.raises(grpc.RpcError, match="expected at least one tensor"):
            call(pb.ModelInferRequest().SerializeToString(), timeout=20)


def test_prefix_of_a_stranger_changes_nothing(proxied):
    said = get(f"{proxied.server.address}/openapi.json", **{"x-forwarded-prefix": "/given"})[1]
    assert json.loads(said)["servers"] == [{"url": "/given"}]  # 127.0.0.1 is trusted here
    hostile = get(f"{proxied.server.address}/", **{"x-forwarded-prefix": "//evil.example"})[2]
    assert hostile["location"] == "/models-api/docs"


def test_application_is_there_under_its_prefix_with_its_stream(proxied):
    wait_until(lambda: get(f"{proxied.address}/app/_stcore/health")[0] == 200, 60)
    status, page, _ = get(f"{proxied.address}/app/")
    assert status == 200
    links = re.findall(r'(?:href|src)="(\./[^"]+\.(?:js|css))"', page.decode())
    assert links
    assert get(urllib.parse.urljoin(f"{proxied.address}/app/", links[0]))[0] == 200
    place = urllib.parse.urlsplit(proxied.address)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        head = (
            f"GET /app/_stcore/stream HTTP/1.1\r\nHost: {place.netloc}\r\nOrigin: {proxied.address}\r\nUpgrade: websocket\r\n"
        )
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n\r\n"
        connection.sendall((head + key).encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 101")
