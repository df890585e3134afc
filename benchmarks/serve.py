"""Our model server against others: ``make bench-serve``. Prints tables of medians, and how they stand against the targets.

One server is alive at a time, on loopback only, and every round starts all of them once, so that a busy machine slows all
alike. Options: ``--rounds 5``, ``--seconds 4`` (per measurement), ``--only ours,mlflow``, ``--models svm,knn``, ``--quick``,
``--markdown FILE``.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from serving.contestants import CONTESTANTS, MODELS, Contestant
from serving.isolation import isolate
from serving.load import measure, require_wrk, send
from serving.models import Model, ask_pipeline, build_model
from serving.places import BUILD
from serving.processes import StartError, find_free_port, running, wait_until_ready, weigh
from serving.table import describe_machine, render

MEMORY_REQUESTS = 1_000
MEMORY_ROUNDS = 3  # memory hardly differs between rounds, and a thousand requests take slow servers ten seconds
WARM_REQUESTS = 50
PIPELINE_MODELS = ("forest", "mixed", "auto")
Pair = tuple[Contestant, Model]


@contextmanager
def serving(contestant: Contestant, model: Model) -> Iterator[tuple[int, int, float]]:
    """Serve a model; yield the port, the process id and the seconds from start to the first 200."""
    port = find_free_port()
    log = BUILD / "logs" / f"{contestant.name}-{model.name}.log"
    start = time.perf_counter()
    with running(contestant.command(model, port), contestant.settings, log) as process:
        wait_until_ready(process, port, contestant.ping, log)
        yield port, process.pid, time.perf_counter() - start


def check_answers(contestant: Contestant, model: Model, port: int) -> None:
    """Ask once what will be asked often: the labels must be the pipeline's, and so everyone's."""
    for name in choose_measures(contestant, model):
        body = contestant.write_body(model, name).read_bytes()
        status, answer = send(port, contestant.path, body, 1)
        if status != 200:
            raise StartError(f"answered {status} to {name}: {answer[:200].decode(errors='replace')}")
        if contestant.read:
            labels = contestant.read(json.loads(answer))
            if labels != model.labels[: len(labels)] or not labels:
                raise StartError(f"its labels are not the pipeline's ({name}): {str(labels)[:100]}")


def choose_measures(contestant: Contestant, model: Model) -> list[str]:
    """Return what is measured of this server with this model."""
    return [name for name in MODELS[model.name] if name in contestant.measures]


def measure_server(contestant: Contestant, model: Model, seconds: int, weighs: bool) -> dict[str, Any]:
    """Start a server, measure it, end it."""
    with serving(contestant, model) as (port, pid, start_seconds):
        figures: dict[str, Any] = {"start": {"seconds": start_seconds}}
        single = contestant.write_body(model, "single")
        status, answer = send(port, contestant.path, single.read_bytes(), MEMORY_REQUESTS if weighs else WARM_REQUESTS)
        if status != 200:
            raise StartError(f"answered {status}: {answer[:200].decode(errors='replace')}")
        if weighs:
            figures["memory"] = weigh(pid)
        for name in choose_measures(contestant, model):
            figures[name] = measure(port, contestant.path, contestant.write_body(model, name), name, seconds)
    return figures


def prepare(contestants: list[Contestant], models: dict[str, Model]) -> tuple[list[Pair], dict[str, str]]:
    """Start every server once, unmeasured, and check its answers; return those that can take part, and why others cannot."""
    able, failures = [], {}
    for contestant in contestants:
        if failure := contestant.install() or contestant.refuse():
            failures[contestant.name] = failure
            continue
        for name in filter(models.__contains__, contestant.models):
            say(f"checking {contestant.name}, {name}")
            try:
                with serving(contestant, models[name]) as (port, _, _):
                    check_answers(contestant, models[name], port)
                able.append((contestant, models[name]))
            except (StartError, OSError, HTTPException, ValueError, LookupError, TypeError) as exc:
                failures[f"{contestant.name}, {name}"] = str(exc) or type(exc).__name__
    return able, failures


def run_round(number: int, able: list[Pair], seconds: int) -> list[dict[str, Any]]:
    """Measure every contestant with each of its models, and the pipeline by itself."""
    records = []
    for contestant, model in able if number % 2 == 0 else reversed(able):
        say(f"round {number + 1}: {contestant.name}, {model.name}")
        record: dict[str, Any] = {"round": number, "contestant": contestant.name, "model": model.name}
        try:
            record |= measure_server(contestant, model, seconds, number < MEMORY_ROUNDS and model.name == "forest")
        except (StartError, OSError, HTTPException) as exc:
            record["failure"] = str(exc) or type(exc).__name__
        records.append(record)
    for name in PIPELINE_MODELS:
        if name not in {model.name for _, model in able}:
            continue
        say(f"round {number + 1}: pipeline, {name}")
        figure = ask_pipeline(name, seconds)
        del figure["labels"]
        records.append({"round": number, "contestant": "pipeline", "model": name, "rows": figure})
    return records


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="per measurement")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of contestants, separated by commas")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS), help="models, separated by commas")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file too")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    known = [contestant.name for contestant in CONTESTANTS]
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(known)}")
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"{', '.join(sorted(unknown))}: unknown; choose from {', '.join(MODELS)}")
    return options


def main() -> None:
    """Prepare, measure, print."""
    options = parse_options()
    require_wrk()
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, lambda number, _: sys.exit(128 + number))  # so that the server under way is ended too
    contestants = [contestant for contestant in CONTESTANTS if not options.only or contestant.name in options.only]
    for contestant in contestants:
        contestant.install()
    on_python = any(contestant.kind == "python" for contestant in contestants)
    models = {name: build_model(name, on_python=on_python) for name in MODELS if name in options.models}
    isolate()
    able, failures = prepare(contestants, models)
    records: list[dict[str, Any]] = []
    machine = describe_machine(options.rounds, options.seconds)
    file = BUILD / "serve.json"
    for number in range(options.rounds):
        records += run_round(number, able, options.seconds)
        file.write_text(json.dumps({"machine": machine, "failures": failures, "records": records}, indent=1))
    text = render(machine, contestants, failures, records)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
