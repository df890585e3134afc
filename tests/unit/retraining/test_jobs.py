import datetime as dt
import http.server
import json
import re
import ssl
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from mlops_project.config import read_config
from mlops_project.errors import ConfigError, StackError
from mlops_project.retraining.attempts import Cause
from mlops_project.retraining.jobs import Cluster, build_job_name
from mlops_project.retraining.trigger import Trigger

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)
CRON_JOB = {
    "metadata": {"name": "retrain", "uid": "u-1", "namespace": "mlops-prod"},
    "spec": {
        "jobTemplate": {
            "metadata": {"labels": {"app": "retrain"}},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {"containers": [{"name": "retrain", "command": ["mlops", "retrain"], "args": ["m.yaml"]}]}
                },
            },
        }
    },
}


class Server(http.server.ThreadingHTTPServer):
    """Speaks as much of the API server's language as a retraining needs, over TLS, to those who have the token."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.jobs: dict[str, dict] = {}
        self.cron_jobs = {"retrain": CRON_JOB}
        self.token = "first"
        self.broken = False

    def end(self, name: str, kind: str) -> None:
        self.jobs[name]["status"] = {"conditions": [{"type": kind, "status": "True"}]}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    PREFIX: ClassVar[str] = "/apis/batch/v1/namespaces/mlops-prod/"

    def log_message(self, *_):
        pass

    def reply(self, code: int, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, code: int, message: str) -> None:
        self.reply(code, {"kind": "Status", "message": message})

    def is_allowed(self) -> bool:
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            self.refuse(401, "Unauthorized")
        elif self.server.broken or not self.path.startswith(self.PREFIX):
            self.refuse(403, "the service account may not do this")
        else:
            return True
        return False

    def do_GET(self):
        if not self.is_allowed():
            return
        kind, _, name = self.path.removeprefix(self.PREFIX).partition("/")
        known = self.server.cron_jobs if kind == "cronjobs" else self.server.jobs
        if not name:
            self.reply(200, {"items": [*known.values()]})
        elif name in known:
            self.reply(200, known[name])
        else:
            self.refuse(404, "not found")

    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_allowed():
            return
        name = job["metadata"]["name"]
        if name in self.server.jobs:
            self.refuse(409, "already exists")
            return
        self.server.jobs[name] = job
        self.reply(201, job)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """A key and its own certificate for 127.0.0.1, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, begin + dt.timedelta(9))
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(secret + pem)
    (file.parent / "ca.crt").write_bytes(pem)
    return file


@pytest.fixture
def server(certificate):
    server = Server(certificate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cluster(server, certificate, tmp_path) -> Cluster:
    for name, text in (
        ("token", "first\n"),
        ("namespace", "mlops-prod"),
        ("ca.crt", (certificate.parent / "ca.crt").read_text()),
    ):
        (tmp_path / name).write_text(text)
    return Cluster(f"https://127.0.0.1:{server.server_port}", tmp_path)


def cause(key: str = "alert:data-drift:1:x", kind="alert") -> Cause:
    return Cause(kind=kind, key=key, reason="it drifts")


@pytest.fixture
def trigger(cluster, tmp_path) -> Trigger:
    file = tmp_path / "m.yaml"
    file.write_text(
        "model: {name: cancer}\nretraining: {runner: kubernetes, cool_down_minutes: 10}\nmonitoring: {on_alert: retrain}\n"
    )
    return Trigger(read_config(file, root=tmp_path, env={}), cluster)


def test_job_is_the_cron_jobs_with_arguments_name_owner_and_mark(cluster, server):
    name = build_job_name("alert:x", 1)
    assert re.fullmatch(r"retrain-[0-9a-f]{12}-1", name)
    assert cluster.create_job(name, ["--cause=alert:x", "--promote"])
    job = server.jobs[name]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["m.yaml", "--cause=alert:x", "--promote"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["metadata"]["labels"] == {"app": "retrain"}
    assert job["metadata"]["annotations"] == {"cronjob.kubernetes.io/instantiate": "manual"}
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("CronJob", "retrain", "u-1")
    assert owner["controller"] is True  # or the CronJob neither counts the Job nor tidies it up
    assert CRON_JOB["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] == ["m.yaml"]


def test_job_that_is_there_already_is_not_made_twice(cluster, server):
    assert cluster.create_job("retrain-abc-1", [])
    assert not cluster.create_job("retrain-abc-1", [])
    assert len(server.jobs) == 1


def test_state_of_a_job_follows_its_conditions(cluster, server):
    assert cluster.read_state("retrain-abc-1") == "absent"
    assert not cluster.is_retraining()
    cluster.create_job("retrain-abc-1", [])
    assert cluster.read_state("retrain-abc-1") == "active"
    assert cluster.is_retraining()
    server.end("retrain-abc-1", "Complete")
    assert cluster.read_state("retrain-abc-1") == "ended"
    assert not cluster.is_retraining()


def test_token_is_read_anew_since_it_is_renewed(cluster, server):
    server.token = "second"
    with pytest.raises(StackError, match="401: Unauthorized"):
        cluster.is_retraining()
    (cluster.account / "token").write_text("second")
    assert not cluster.is_retraining()


def test_refusals_and_absence_are_told_with_the_clusters_words(cluster, server):
    server.cron_jobs = {}
    with pytest.raises(StackError, match="there is no CronJob 'retrain' in namespace 'mlops-prod'"):
        cluster.create_job("retrain-abc-1", [])
    server.broken = True
    with pytest.raises(StackError, match="403: the service account may not do this"):
        cluster.is_retraining()


def test_server_with_another_certificate_is_not_trusted(cluster, certificate):
    import certifi

    (cluster.account / "ca.crt").write_text(Path(certifi.where()).read_text())
    with pytest.raises(StackError, match=r"cannot be reached .*certificate verify failed"):
        cluster.is_retraining()


def test_process_outside_a_pod_is_told_so(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "m.yaml"
    file.write_text("retraining: {runner: kubernetes}\n")
    with pytest.raises(ConfigError, match="this process is in no pod"):
        Trigger(read_config(file, root=tmp_path, env={}))


def test_request_makes_one_job_and_further_ones_wait_for_it(trigger, server):
    assert trigger.request(cause(), NOW) == "started"
    (name,) = server.jobs
    arguments = server.jobs[name]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["m.yaml", "--cause=alert:data-drift:1:x", "--reason=it drifts", "--no-promote"]
    assert trigger.request(cause(), NOW) == "running"
    assert trigger.request(cause("webhook:1:2", "webhook"), NOW) == "running"
    assert trigger.read_status().running
    assert len(server.jobs) == 1


def test_monitor_that_lost_its_record_gets_a_conflict_instead_of_a_second_job(trigger, server):
    trigger.request(cause(), NOW)
    (name,) = server.jobs
    server.end(name, "Complete")
    (trigger.attempts.folder / "state.json").unlink()
    assert trigger.request(cause(), NOW) == "duplicate"
    assert len(server.jobs) == 1


def test_retraining_that_another_started_from_the_cron_job_is_waited_for(trigger, cluster):
    cluster.create_job("retrain-29401234", [])
    assert trigger.request(cause(), NOW) == "running"
