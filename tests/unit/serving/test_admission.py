import pytest

from mlops_project.serving.admission import FEW, RELIEF, Admission
from mlops_project.serving.refusals import MAX_HOLD_SECONDS, MIN_HOLD_SECONDS, TOGETHER, Pace

LIMIT = 0.03


def begin_all(admission: Admission, n: int) -> int:
    """Let so many requests come in one turn; return how many were taken."""
    taken = 0
    for _ in range(n):
        if not admission.is_full:
            admission.n_begun += 1
            taken += 1
    admission.n_refused += n - taken
    return taken


def run_turn(admission: Admission, n: int, each: float) -> int:
    """Answer what is taken of so many requests, each in so many seconds."""
    taken = begin_all(admission, n)
    assert admission.end_turn() == taken
    admission.learn(taken * each, taken)
    return taken


@pytest.mark.parametrize(("each", "allowed"), [(20e-6, 256), (100e-6, 135), (0.5e-3, 27), (1e-3, FEW), (0.1, FEW)])
def test_nearly_half_the_limit_is_given_to_one_turn(each, allowed):
    admission = Admission(LIMIT, 256)
    for _ in range(2000):
        run_turn(admission, FEW, each)
    assert run_turn(admission, 1000, each) == pytest.approx(allowed, abs=1)


def test_lasting_overload_lets_requests_wait_less_and_a_burst_does_not():
    admission = Admission(LIMIT, 256)
    for _ in range(2000):
        run_turn(admission, FEW, 100e-6)
    assert run_turn(admission, 1000, 100e-6) == pytest.approx(135, abs=1)
    assert run_turn(admission, 1000, 100e-6) >= 131  # the burst's second turn
    for _ in range(1000):
        run_turn(admission, 1000, 100e-6)
    assert run_turn(admission, 1000, 100e-6) == pytest.approx(135 * (1 - RELIEF), abs=1)
    for _ in range(2000):  # what fits is not refused, and the places come back
        run_turn(admission, FEW, 100e-6)
    assert run_turn(admission, 1000, 100e-6) == pytest.approx(135, abs=1)


def test_limit_is_a_setting():
    few, many = Admission(0.01, 1000), Admission(0.1, 1000)
    assert (begin_all(few, 1000), begin_all(many, 1000)) == (45, 450)


def test_each_turn_counts_anew():
    admission = Admission(LIMIT, 256)
    assert begin_all(admission, 1000) == begin_all(admission, 1000) + 135
    admission.end_turn()
    assert begin_all(admission, 1000) == 135


def test_requests_at_work_elsewhere_take_places_but_no_time():
    admission = Admission(LIMIT, 256)
    admission.n_working = 255
    assert begin_all(admission, 1000) == 135
    admission.n_working = 256
    admission.end_turn()
    assert begin_all(admission, 1000) == 0


def test_one_pause_refuses_none_of_a_few_clients():
    admission = Admission(LIMIT, 256)
    for _ in range(200):
        run_turn(admission, 16, 45e-6)
    begin_all(admission, 2)
    admission.end_turn()
    admission.learn(0.1, 2)  # a collection of garbage, another process
    assert run_turn(admission, 16, 45e-6) == 16


def test_slow_model_is_known_after_its_first_turn():
    admission = Admission(LIMIT, 256)
    run_turn(admission, 1000, 0.02)
    assert admission.allowed == FEW


def test_refusals_are_held_the_longer_the_more_there_are():
    pace = Pace()
    times = []
    for _ in range(20_000):
        times.append(pace.choose_time(5.0) - 5.0)
        pace.count(50e-6)
    assert times[0] == pytest.approx(MIN_HOLD_SECONDS)
    assert times[3000] == pytest.approx(MIN_HOLD_SECONDS + 3000 * 50e-6 * 0.4 / 0.15)
    assert times[-1] == MAX_HOLD_SECONDS
    assert pace.choose_time(60.0) == 60.0 + MIN_HOLD_SECONDS


@pytest.mark.parametrize("clients", [16, 160, 400, 1000, 5000])
@pytest.mark.parametrize("answer_seconds", [30e-6, 45e-6, 150e-6, 400e-6])
def test_clients_that_ask_again_at_once_get_most_of_the_capacity_and_in_time(clients, answer_seconds):
    """A simulation: refusing takes a third of answering, is held back, and every client asks again with its answer."""
    refuse_seconds = 0.35 * answer_seconds
    admission, pace = Admission(LIMIT, 256), Pace()
    now, before, ready, held = 0.0, 0.0, clients, []
    answered, waited, begun_at = 0, 0.0, 1.0  # the first second is for learning
    while now < 3:
        ready += sum(n for at, n in held if at <= now)
        held = [(at, n) for at, n in held if at > now]
        taken = begin_all(admission, ready)
        refused = ready - taken
        admission.end_turn()
        seconds = max(1e-6, taken * answer_seconds + refused * refuse_seconds)
        admission.learn(seconds, taken)
        now += seconds
        for start in range(0, refused, TOGETHER):
            n = min(TOGETHER, refused - start)
            held.append((pace.choose_time(now), n))
            for _ in range(n):
                pace.count(admission.answer_seconds)
        if now > begun_at and taken:
            answered += taken
            waited = max(waited, before + seconds)
        before, ready = seconds, taken
    if clients <= 1000:
        assert waited <= (0.6 * LIMIT if admission.pressure > 0.9 else LIMIT)
        assert answered / (now - begun_at) >= 0.8 / answer_seconds
    else:
        assert answered / (now - begun_at) >= 0.4 / answer_seconds  # more than max_connections
