"""Whole servers under load, and what befalls them: kill -9, SIGTERM, slow clients, overload, a full disk, models that swap."""

import asyncio
import contextlib
import json
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from collections import Counter

import psutil
import pytest

from tests.accounts import read_project_account
from tests.load import Answers, build_request, keep_asking, read_response, read_row
from tests.log_files import read_segment
from tests.servers import find_alive, model_server, plain_environment, read_command

MODEL = ("--model", "artifacts/model")


def ask_for(project, **headers: str) -> bytes:
    return build_request("/predict", json.dumps(read_row(project / "artifacts" / "model")).encode(), **headers)


def run_load(port: int, request: bytes, disturb, clients: int = 8) -> Answers:
    """Keep asking while ``disturb`` (a coroutine function) runs, and return what was seen."""

    async def main() -> Answers:
        answers, stop = Answers(), asyncio.Event()
        load = [asyncio.create_task(keep_asking(port, request, stop, answers)) for _ in range(clients)]
        await disturb(answers)
        stop.set()
        await asyncio.wait(load, timeout=10)
        return answers

    return asyncio.run(main())


def read_log(project) -> list:
    files = (project / "logs" / "predictions").glob("*.*")
    return [record for file in files if file.suffix in (".open", ".log") for record in read_segment(file)]


def read_metrics(server) -> str:
    with urllib.request.urlopen(f"{server.address}/metrics", timeout=10) as response:
        return response.read().decode()


def check_account(project, *answers: Answers, unseen: int = 0) -> Counter[str]:
    """Check that every answered row is in a window, waits for one or is counted by reason; return how many of each.

    Parameters
    ----------
    unseen
        How many further rows may have been logged, whose answer nobody saw.
    """
    found, sent = read_project_account(project), sum(len(item.ids) for item in answers)
    assert sent <= sum(found.values()) <= sent + unseen
    return found


def workers_of(server) -> list[psutil.Process]:
    """Return the processes that answer: they hold the listening socket, and are not the first."""
    family = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in family if "spawn_main" in read_command(process)]


def test_killed_worker_loses_no_acknowledged_prediction_and_comes_back(trained_project):
    with model_server(trained_project, *MODEL, "--workers", "2") as server:
        before = {process.pid for process in workers_of(server)}
        assert len(before) == 2

        async def kill(answers):
            await asyncio.sleep(1)
            for pid in before:
                psutil.Process(pid).kill()
                await asyncio.sleep(2.5)

        answers = run_load(server.port, ask_for(trained_project), kill)
        after = {process.pid for process in workers_of(server)}
        assert len(after) == 2
        assert not before & after
        assert answers.statuses.keys() == {200}
        assert len(answers.ids) > 200
        logged = {record.about.id for record in read_log(trained_project)}
        assert set(answers.ids) <= logged
        assert len(answers.failures) <= 8 * 2  # what was on its way in a worker when it was killed
        total = sum(
            float(line.split()[-1])
            for line in read_metrics(server).splitlines()
            if line.startswith("mlflow_predictions_total{")
        )
        assert len(answers.ids) <= total <= len(answers.ids) + 16
    check_account(trained_project, answers, unseen=8 * 2)


def test_workers_of_a_killed_supervisor_end_and_give_up_the_port(trained_project):
    with model_server(trained_project, *MODEL, "--workers", "2") as server:
        workers = workers_of(server)
        assert len(workers) == 2
        server.process.kill()
        assert find_alive(workers, 20) == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_sigterm_under_load_fails_no_request(trained_project):
    with model_server(trained_project, *MODEL, "--workers", "2") as server:

        async def end(answers):
            await asyncio.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(3)

        started = time.monotonic()
        answers = run_load(server.port, ask_for(trained_project), end)
        assert server.process.wait(10) in (0, -signal.SIGTERM)
        assert time.monotonic() - started < 12
    assert answers.failures == []
    assert answers.statuses.keys() == {200}
    assert answers.refused > 0  # the port was closed
    assert set(answers.ids) <= {record.about.id for record in read_log(trained_project)}
    assert not list((trained_project / "logs" / "predictions").glob("*.open"))
    check_account(trained_project, answers)


def test_server_ends_in_time_although_a_client_never_finishes(trained_project):
    settings = ("--set", "serving.drain_seconds=2")
    with (
        model_server(trained_project, *MODEL, *settings) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(ask_for(trained_project)[:-20])
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
        assert time.monotonic() - started < 6


def test_slow_clients_are_cut_off_and_do_not_hold_up_others(trained_project):
    settings = ("--set", "serving.request_seconds=1", "--set", "serving.max_connections=60")
    with model_server(trained_project, *MODEL, *settings) as server:
        request = ask_for(trained_project)

        async def crawl(answers):
            slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(30)]
            ends = [asyncio.create_task(reader.read()) for reader, _ in slow]
            for position in range(25):  # a byte at a time, of the headers or of the body
                for index, (_, writer) in enumerate(slow):
                    start = 0 if index % 2 else len(request) - 30
                    with contextlib.suppress(ConnectionError):
                        writer.write(request[start + position : start + position + 1] if position else request[: start + 1])
                await asyncio.sleep(0.1)
            seen = await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), 5)
            assert any(isinstance(end, bytes) and end.startswith(b"HTTP/1.1 408") for end in seen)
            assert all(isinstance(end, ConnectionError) or end.startswith(b"HTTP/1.1 408") for end in seen)
            for _, writer in slow:
                writer.close()

        answers = run_load(server.port, request, crawl, clients=4)
        assert answers.failures == []
        assert answers.statuses.keys() == {200}
        assert statistics.median(answers.seconds) < 0.1
        assert 'mlops_requests_refused_total{reason="slow"} 30.0' in read_metrics(server)


def test_connections_beyond_the_limit_get_503(trained_project):
    with model_server(trained_project, *MODEL, "--set", "serving.max_connections=5") as server:

        async def crowd() -> list[bytes]:
            first = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
            await asyncio.sleep(0.2)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            answer = await asyncio.wait_for(reader.read(), 5)
            for _, other in [*first, (reader, writer)]:
                other.close()
            return answer

        assert asyncio.run(crowd()).startswith(b"HTTP/1.1 503")
        time.sleep(0.3)
        assert 'mlops_requests_refused_total{reason="connections"} 1.0' in read_metrics(server)


def test_overload_is_refused_with_retry_after_and_accepted_requests_stay_quick(trained_project):
    with model_server(trained_project, *MODEL, "--set", "serving.max_waiting=8") as server:
        request = ask_for(trained_project)

        async def wait(answers):
            await asyncio.sleep(2)

        calm = run_load(server.port, request, wait, clients=4)
        storm = run_load(server.port, request, wait, clients=80)
        assert calm.statuses.keys() == {200}
        assert storm.statuses.keys() == {200, 503}
        assert storm.failures == []
        assert len(storm.ids) > 100
        assert (
            statistics.median(storm.seconds) < 0.25
        )  # as seen by 80 clients in one process; a queue without end takes seconds

        async def look() -> dict[str, str]:
            """One of many at once sees the 503 with its Retry-After."""
            pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            for _, writer in pairs:
                writer.write(request)
            found = [await read_response(reader) for reader, _ in pairs]
            for _, writer in pairs:
                writer.close()
            return next(headers for status, headers, _ in found if status == 503)

        assert asyncio.run(look())["retry-after"] == "1"
        assert 'mlops_requests_refused_total{reason="overload"}' in read_metrics(server)
    check_account(trained_project, calm, storm, unseen=60)  # of those that `look` asked, who were answered is not noted


def test_full_disk_costs_log_records_and_no_answer(trained_project):
    """A limit on the size of files stands for the disk: writes are cut off and fail as on a full one."""
    request = ask_for(trained_project)
    with model_server(trained_project, *MODEL) as server:
        psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE, (60_000, psutil.RLIM_INFINITY))

        async def wait(answers):
            await asyncio.sleep(1.5)

        answers = run_load(server.port, request, wait)
        assert answers.failures == []
        assert answers.statuses.keys() == {200}
        metrics = read_metrics(server)
        lost = float(
            next(line.split()[-1] for line in metrics.splitlines() if line.startswith("mlops_prediction_log_lost_total"))
        )
        logged = {record.about.id for record in read_log(trained_project)}
        assert logged
        assert logged <= set(answers.ids)
        assert lost == len(answers.ids) - len(logged)
        psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        more = run_load(server.port, request, wait)
        assert set(more.ids) <= {record.about.id for record in read_log(trained_project)}  # there is room again
    found = check_account(trained_project, answers, more)
    assert found["unlogged"] == lost


def test_models_swap_under_load_without_a_failed_request(trained_project):
    environment = plain_environment()
    train = ["mlops", "train", "--quiet", "--set", "tracking.enabled=false", "--set", "evaluation.bootstrap_rounds=0"]
    train += ["--set", "evaluation.importance_repeats=0", "--set", "model.estimator=decision_tree", "--set", "gates.minimum={}"]
    settings = ("--set", "serving.poll_seconds=0.1")
    with model_server(trained_project, *MODEL, *settings) as server:

        async def swap(answers):
            for depth in (2, 3):
                options = ["--set", f"model.params={{max_depth: {depth}}}"]
                process = await asyncio.create_subprocess_exec(*train, *options, cwd=trained_project, env=environment)
                assert await process.wait() == 0
                await asyncio.sleep(1)

        answers = run_load(server.port, ask_for(trained_project), swap, clients=3)
        assert answers.failures == []
        assert answers.statuses.keys() == {200}
        assert len(answers.versions) == 3


def test_workers_share_metrics_and_latency_of_one_connection_does_not_stall(trained_project):
    with model_server(trained_project, *MODEL, "--workers", "2") as server:

        async def wait(answers):
            await asyncio.sleep(1)

        answers = run_load(server.port, ask_for(trained_project), wait, clients=1)
        assert statistics.median(answers.seconds) < 0.02  # 40 ms would be Nagle's algorithm meeting delayed acknowledgements
        everyone = run_load(server.port, ask_for(trained_project), wait, clients=16)
        total = len(answers.ids) + len(everyone.ids)
        for _ in range(5):  # whichever worker answers
            metrics = read_metrics(server)
            line = next(line for line in metrics.splitlines() if line.startswith("mlflow_predictions_total{"))
            assert float(line.split()[-1]) == total
            assert f'http_requests_total{{method="POST",path="/predict",status="200"}} {float(total)}' in metrics


def test_taken_port_and_missing_model_are_clear_errors(trained_project, project):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ["mlops", "serve", *MODEL, "--port", str(port)]
        done = subprocess.run(
            command, cwd=trained_project, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    command = ["mlops", "serve", "--model", "nowhere"]
    done = subprocess.run(
        command, cwd=project, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "train one with `mlops train`" in done.stderr


def test_access_log_has_a_line_of_json_per_request(trained_project):
    with model_server(trained_project, *MODEL, "--set", "serving.access_log=all") as server:
        request = urllib.request.Request(f"{server.address}/predict", b"{}", {"X-Request-Id": "mine"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=5)
        time.sleep(0.2)
        (line,) = [line for line in server.read_log().splitlines() if "mine" in line]
        entry = json.loads(line)
        assert entry["milliseconds"] > 0
        assert entry | {"milliseconds": 0} == {
            "request_id": "mine", "method": "POST", "path": "/predict", "status": 400, "milliseconds": 0, "client": "127.0.0.1",
        }  # fmt: skip
