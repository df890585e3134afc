"""How many requests a worker takes on at once: as many as it can answer in time, by how long its answers have taken lately.

A worker reads whatever has come in, answers it, and reads again; each round is a turn of its event loop. A request that comes
during one turn is read and answered in the next, so it waits for two turns at most, and the requests of each may take nearly
half of what a request may wait. Requests beyond that are refused by their head alone.

A burst may use all of that. While turn after turn refuses some, waiting gains nothing: as many are answered whether many wait
or few. So the more of the last half second went by in turns that refused, the less a request may wait, down to a third.
"""

MEMORY_SECONDS = 0.5  # of work that the mean remembers; one pause of 40 ms then changes it little
GUESS_SECONDS, GUESS_ANSWERS = 0.05, 500  # before anything was measured: 100 µs each
TURN_SHARE = 0.45  # of what a request may wait; the rest is for refusing, and for turns that are longer than expected
RELIEF = 2 / 3  # of what a request may wait is taken away while every turn refuses some
FEW = 16  # so many at once are never too many, however slow the model or the machine


class Admission:
    """Decides, turn by turn, whether one more request fits in. Knows no clock: it is told how long turns took.

    Parameters
    ----------
    max_wait_seconds
        How long a request may wait for its answer.
    max_waiting
        How many may wait, however quickly they are answered.

    Attributes
    ----------
    n_begun
        Requests begun in this turn.
    n_refused
        Requests refused in this turn.
    n_working
        Requests on the long way that are not answered: their body is coming in, or they are at work, perhaps in a thread.
    n_waiting
        Requests on the short way that wait for the end of this turn.
    allowed
        How many may be begun in one turn.
    """

    def __init__(self, max_wait_seconds: float, max_waiting: int) -> None:
        self._turn_seconds, self._max_waiting = max_wait_seconds * TURN_SHARE, max_waiting
        self._seconds, self._answers = GUESS_SECONDS, float(GUESS_ANSWERS)
        self.n_begun = self.n_refused = self.n_working = self.n_waiting = 0
        self._has_refused, self._refusing_seconds = False, 0.0
        self.allowed = self._count_allowed()

    @property
    def is_full(self) -> bool:
        """Whether one more request would wait too long, or be one too many."""
        return self.n_begun >= self.allowed or self.n_working >= self._max_waiting

    @property
    def has_place(self) -> bool:
        """Whether one more may be at work beyond this turn."""
        return self.n_working < self._max_waiting

    def end_turn(self) -> int:
        """Begin to count anew; return how many requests were begun."""
        n_begun, self.n_begun = self.n_begun, 0
        self._has_refused, self.n_refused = self.n_refused > 0, 0
        return n_begun

    def learn(self, seconds: float, n_answers: int) -> None:
        """Take into the mean how long the turn that ended last took as a whole, and how many answers came of it."""
        kept = MEMORY_SECONDS / (MEMORY_SECONDS + seconds)
        self._refusing_seconds = self._refusing_seconds * kept + seconds * self._has_refused
        self._seconds = self._seconds * kept + seconds
        self._answers = self._answers * kept + n_answers
        self.allowed = self._count_allowed()

    @property
    def answer_seconds(self) -> float:
        """What an answer took lately, with all that turns had to do besides."""
        return self._seconds / max(self._answers, 1.0)

    @property
    def pressure(self) -> float:
        """Which share of the time went by lately in turns that refused some."""
        return self._refusing_seconds / self._seconds

    def _count_allowed(self) -> int:
        seconds = self._turn_seconds * (1 - RELIEF * self.pressure)
        return min(self._max_waiting, max(FEW, int(seconds / self.answer_seconds)))
