"""A run sends what it planned, when it planned it, and tells the truth late. Server and clock are of the test."""

import pytest

from mlops_project.client.http import Reply
from mlops_project.client.model_server import Predicted
from mlops_project.simulation.faults import parse_fault, resolve_faults
from mlops_project.simulation.traffic import LABELS_AT_ONCE, Plan, Run, make_rows, score_output


class Clock:
    """Time that passes when somebody waits, or is asked."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.time += seconds


class Server:
    """Says ``yes`` to every row, after 10 ms."""

    def __init__(self, clock: Clock, status: int = 200) -> None:
        self.clock, self.status = clock, status
        self.asked: list[tuple[float, list]] = []
        self.labels: dict[str, tuple[float, object]] = {}
        self.label_requests: list[int] = []
        self.unlogged: set[str] = set()
        self.stop_after = 10**9
        self.switch_after = 10**9
        self.count = 0

    def predict(self, model, records):
        if len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append((self.clock.now(), list(records)))
        self.clock.time += 0.01
        if self.status != 200:
            return Predicted(self.status, refusal="row 0: no")
        ids = tuple(f"p{self.count + row}" for row in range(len(records)))
        self.count += len(records)
        return Predicted(200, "1" if len(self.asked) <= self.switch_after else "2", ids, ("yes",) * len(records))

    def send_labels(self, labels):
        if any(name in self.unlogged for name, _ in labels):
            return Reply(404, None, b'{"error": "not in the log"}')
        self.label_requests.append(len(labels))
        for name, label in labels:
            assert name not in self.labels
            self.labels[name] = (self.clock.now(), label)
        return Reply(200, None, b"")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    return Server(clock)


def execute(source, server, *faults, progress=lambda _: None, **plan):
    resolved = resolve_faults([parse_fault(text) for text in faults], source)
    return Run(Plan("m", **plan), source, resolved, server, server.clock).execute(progress)


def test_every_row_is_sent_once_in_requests_of_the_wanted_size(source, server):
    outcome = execute(source, server, rows=2000, batch=4)
    sizes = [len(records) for _, records in server.asked]
    assert sum(sizes) == outcome.sent == outcome.answered == 2000
    assert set(sizes) == {1, 2, 3, 4}


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_rows_do_not_depend_on_the_size_of_requests(source, clock, batch):
    def rows(size):
        server = Server(clock)
        execute(source, server, "covariate:size=1,share=0.5", rows=1500, batch=size, seed=5)
        return [record for _, records in server.asked for record in records]

    assert rows(batch) == rows(3)


def test_another_seed_sends_other_rows_and_one_fault_more_harms_the_same_rows(source):
    def columns(seed, *faults):
        resolved = resolve_faults([parse_fault(text) for text in faults], source)
        return [size for rows in make_rows(source, resolved, 1000, seed) for size in rows.columns["size"]]

    assert columns(1) != columns(2)
    assert columns(1) == columns(1, "concept") == columns(1, "category:feature=town")
    assert columns(1, "unit:feature=size,share=0.5") == columns(1, "unit:feature=size,share=0.5", "nulls:feature=gap")


def test_accuracy_is_that_of_the_answers_and_falls_where_the_rule_changes(source, server):
    outcome = execute(source, server, "concept:feature=noise,at=0,from=0.5", rows=6000, batch=50)
    yes = source.rows.truth.mean()
    assert outcome.metric == "accuracy"
    assert outcome.whole.mean == pytest.approx(0.5, abs=0.03)
    assert [stage.rows for stage in outcome.stages] == pytest.approx([600] * 10, abs=50)
    assert outcome.stages[2].mean == pytest.approx(yes, abs=0.06)
    assert outcome.stages[8].mean == pytest.approx(1 - yes, abs=0.06)


def test_versions_are_told_apart(source, server):
    server.switch_after = 100
    outcome = execute(source, server, rows=500, batch=1)
    assert {name: tally.rows for name, tally in outcome.versions.items()} == {"1": 100, "2": 400}


def test_rate_is_kept(source, server):
    outcome = execute(source, server, rows=300, rate=50, batch=3)
    starts = [moment - 100 for moment, _ in server.asked]
    sent = 0
    for start, (_, records) in zip(starts, server.asked, strict=True):
        assert start == pytest.approx(sent / 50, abs=0.02)
        sent += len(records)
    assert outcome.seconds == pytest.approx(6, abs=0.1)


def test_labels_follow_when_they_are_due_and_not_before(source, server):
    outcome = execute(source, server, rows=300, rate=50, batch=1, label_delay_seconds=2.0)
    assert outcome.labels_sent == len(server.labels) == 300
    for number, (moment, _) in enumerate(server.asked):
        late = server.labels[f"p{number}"][0] - moment
        assert 2.0 <= late < 2.5
    assert len(server.label_requests) < 60  # gathered


def test_labels_are_the_truth_of_the_row_and_its_fault(source, server):
    execute(source, server, "concept:feature=size,at=0.5", rows=200, batch=1, seed=9)
    resolved = resolve_faults([parse_fault("concept:feature=size,at=0.5")], source)
    truth = [source.contract.classes[index] for rows in make_rows(source, resolved, 200, 9) for index in rows.truth]
    assert [server.labels[f"p{number}"][1] for number in range(200)] == truth


def test_labels_are_sent_for_their_share(source, server):
    outcome = execute(source, server, rows=4000, batch=20, label_share=0.25)
    assert outcome.labels_sent == pytest.approx(1000, abs=90)
    assert max(server.label_requests) <= LABELS_AT_ONCE


def test_no_labels_are_sent_if_none_are_wanted(source, server):
    assert execute(source, server, rows=100, label_share=0.0).labels_sent == 0
    assert server.label_requests == []


def test_label_that_sampling_kept_from_the_log_does_not_take_others_with_it(source, server):
    server.unlogged = {"p3", "p77"}
    outcome = execute(source, server, rows=100)
    assert (outcome.labels_sent, outcome.labels_refused) == (98, 2)
    assert outcome.first_refusal == "not in the log"
    assert len(server.labels) == 98


def test_refused_rows_are_counted_and_get_no_label(source, clock):
    server = Server(clock, status=400)
    outcome = execute(source, server, rows=100)
    assert (outcome.sent, outcome.answered, outcome.refused, outcome.labels_sent) == (100, 0, {400: 100}, 0)
    assert outcome.first_refusal == "row 0: no"
    assert outcome.whole.mean is None


def test_interrupt_sends_what_is_due_and_says_what_was_not(source, server):
    server.stop_after = 200
    outcome = execute(source, server, rows=1000, rate=100, batch=1, label_delay_seconds=1.0)
    assert (outcome.interrupted, outcome.sent) == (True, 200)
    assert outcome.labels_sent + outcome.labels_left == 200
    assert outcome.labels_left == pytest.approx(100, abs=2)


def test_interrupt_while_waiting_for_labels_ends_the_run(source, server):
    def stop(outcome):
        if outcome.sent == 50 and server.clock.now() > 110:
            raise KeyboardInterrupt

    outcome = execute(source, server, rows=50, label_delay_seconds=3600, progress=stop)
    assert (outcome.interrupted, outcome.labels_sent, outcome.labels_left) == (True, 0, 50)


def test_outputs_are_scored_by_task(source, prices):
    assert [score_output(output, "yes", source.contract) for output in ("yes", "no", [0.2, 0.8], [0.8, 0.2])] == [1, 0, 1, 0]
    assert score_output(2.5, 1.0, prices.contract) == 1.5
