"""What both ways of answering a request share: the key, the model, counting, the shadow, threads, and the state of shutdown."""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mlops_project.errors import MLOpsError
from mlops_project.serving import metrics as names
from mlops_project.serving.admission import Admission
from mlops_project.serving.answer import Answer
from mlops_project.serving.callers import ANYBODY, Caller
from mlops_project.serving.catalogue import NotLoadedError
from mlops_project.serving.connections import ConnectionPlaces
from mlops_project.serving.dataplane import DataPlane
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.label_limits import LabelLimits
from mlops_project.serving.loads import ModelLoads
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import ServedModel
from mlops_project.serving.models import LoadedModels
from mlops_project.serving.openapi import ApiViews
from mlops_project.serving.proxies import Proxies
from mlops_project.serving.reasons import ReasonsAskedError
from mlops_project.serving.refusals import Refusals
from mlops_project.serving.remote import RemoteAnswers
from mlops_project.serving.repeats import read_key
from mlops_project.serving.route import Route
from mlops_project.serving.settings import Settings
from mlops_project.serving.tls import Tls
from mlops_project.serving.tracing import build_tracer
from mlops_project.serving.wires import Question
from mlops_project.wire.limits import TooLargeError
from mlops_project.wire.problems import RowsError

MAX_EXPLAINING = 2  # requests of one worker: a row that is sampled takes as long as thousands of predictions
SMALL_BODY_BYTES = 32 * 1024  # larger ones are answered in a thread, so that small ones need not wait for them
Result = TypeVar("Result")

access_logger = logging.getLogger("mlops_project.access")


class Service:
    """One worker's models, log, metrics and limits.

    Attributes
    ----------
    models
        The loaded ones.
    loads
        Loads those that are asked for, where ``serving.models.load`` says so.
    plane
        What answers and logs predictions.
    remote
        What asks models that answer in other processes.
    api
        The API's description.
    admission
        How many requests are accepted at once, on the short and the long way together.
    refusals
        Answers the requests beyond that.
    label_limits
        How many labels each caller may still send.
    proxies
        What proxies in front of the server may say.
    tls
        The certificate; None for plain HTTP.
    sticky_header
        Header, in lower case, whose value decides which variant answers; None where none does.
    draining
        Whether the server is ending: responses then close their connection.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = False
        self.metrics = ServerMetrics(settings.metrics_dir)
        self.models = LoadedModels(settings, self.metrics)
        self.loads = ModelLoads(self.models)
        self.plane = DataPlane(settings, self.models, self.metrics)
        self.remote = RemoteAnswers(self.plane, settings.serving.request_seconds)
        self.api = ApiViews(self.models, secured=bool(settings.keys))
        self._explaining = 0
        self.admission = Admission(settings.serving.max_wait_seconds, settings.serving.max_waiting)
        self.refusals = Refusals(self.metrics, logged=settings.serving.access_log != "none")
        self.label_limits = LabelLimits(settings.serving.labels_per_minute, settings.serving.workers)
        self.proxies = Proxies(settings.serving.root_path, settings.serving.trusted_proxies)
        self.tls = None if settings.tls is None else Tls(settings.tls)
        self._threads = ThreadPoolExecutor(max(1, os.cpu_count() or 1), "batch")
        self._tracer = build_tracer()
        self._state: Any = None
        self._places: ConnectionPlaces | None = None
        header = settings.rollout.key_header if settings.serving.is_rolled_out else None
        self.sticky_header = None if header is None else header.lower().encode()
        self._keys, self._brief = bool(settings.keys), settings.serving.errors == "brief"
        self._shadows = settings.serving.challenger == "shadow"
        self._log_all, self._log_errors = (settings.serving.access_log == "all", settings.serving.access_log != "none")

    def admit(self, route: Route, headers: dict[bytes, bytes]) -> ServedModel:
        """Check the key and return the default model.

        Parameters
        ----------
        route
            That the request asks for.
        headers
            Name in lower case → value.

        Raises
        ------
        RefusedError, NoModelError, UnknownModelError
            If the key does not fit, or there is no such model.
        NotLoadedError
            If the model is to be loaded first; ``loads`` does so.
        """
        self.check_key(route, headers)
        return self.models.find()

    def check_key(self, route: Route, headers: dict[bytes, bytes]) -> Caller:
        """Return whose key the caller has; anybody may do anything if this server asks for no key.

        Raises
        ------
        RefusedError
            If the key is none of this server's, or has no role for this route, or is not to see columns.
        """
        caller = self._find_caller(headers)
        if not route.roles or caller.roles & route.roles:
            if route.shows_columns:
                self.check_columns(caller)
            return caller
        if not caller.roles:
            raise RefusedError(401, "key", "this server asks for a key: send it as `Authorization: Bearer KEY`")
        own, asked = " and ".join(sorted(caller.roles)), " or ".join(sorted(route.roles, reverse=True))
        raise RefusedError(403, "key", f"this key has the role {own}, and this asks for {asked}; use another key")

    def _find_caller(self, headers: dict[bytes, bytes]) -> Caller:
        if not self._keys:
            return ANYBODY
        return self.settings.find_caller(headers.get(b"authorization", b"").decode("latin-1"))

    def hides_columns(self, caller: Caller) -> bool:
        """Whether this caller is not to see the model's columns."""
        return caller.brief or (self._brief and (not self._keys or "admin" not in caller.roles))

    def show(self, error: MLOpsError, headers: dict[bytes, bytes]) -> MLOpsError:
        """Return an error as its caller may see it."""
        if isinstance(error, RowsError) and self.hides_columns(self._find_caller(headers)):
            return error.without_columns()
        return error

    def check_columns(self, caller: Caller) -> None:
        """Check that a caller may see the model's columns.

        Raises
        ------
        RefusedError
            If not.
        """
        if self.hides_columns(caller):
            raise RefusedError(403, "key", "the model's columns are not shown to this caller; ask whoever runs this server")

    def add_key(self, question: Question, route: Route, headers: dict[bytes, bytes]) -> Question:
        """Return a question with the digest of the request's ``Idempotency-Key``, which its headers have.

        Raises
        ------
        RefusedError
            If it is no such key.
        """
        if not self.settings.serving.idempotency_keys:
            return question
        key = read_key(headers[b"idempotency-key"], headers.get(b"authorization", b""), route.template)
        return question._replace(key=key)

    def shadow(self, question: Question, answer: Answer) -> None:
        """Let the challenger answer as well, if it is to, once the response has left."""
        challenger = self.plane.wants_shadow(answer.model) if self._shadows and not answer.repeated else None
        if challenger is None:
            return
        loop = asyncio.get_running_loop()

        def work() -> None:
            shadow = self.plane.shadow(challenger, question)
            loop.call_soon_threadsafe(self.plane.record_shadow, question, shadow, answer.id)

        self._threads.submit(work)

    async def answer(self, model: ServedModel, question: Question, headers: dict[bytes, bytes] | None = None) -> Answer:
        """Answer and record a question, large ones in a thread; then let the challenger answer it as well, if it is to.

        Parameters
        ----------
        headers
            Of the request, by name in lower case; None where its protocol has no room for reasons.

        Raises
        ------
        MLOpsError
            As ``DataPlane.answer`` and ``record``, or if it takes too long.
        """
        answer = await self.answer_alone(model, question, headers)
        self.shadow(question, answer)
        return answer

    async def answer_alone(self, model: ServedModel, question: Question, headers: dict[bytes, bytes] | None = None) -> Answer:
        """Answer and record a question without the challenger.

        Raises
        ------
        MLOpsError
            As ``answer``.
        """
        try:
            return await self._answer_plainly(model, question)
        except ReasonsAskedError:
            return await self._answer_with_reasons(model, question, headers or {})

    async def _answer_plainly(self, model: ServedModel, question: Question) -> Answer:
        if self.plane.asks_process(model):
            with self._working(model):
                return await self.remote.answer(model, question)
        if len(question.body) <= SMALL_BODY_BYTES:
            answer = self.plane.answer(model, question)
        else:
            with self._working(model):
                answer = await self.in_thread(self.plane.answer, model, question)
        self.plane.record(question, answer)
        return answer

    async def _answer_with_reasons(self, model: ServedModel, question: Question, headers: dict[bytes, bytes]) -> Answer:
        """Answer in a thread a question that asks for reasons, if the caller may see the model's columns; record it."""
        self.check_columns(self._find_caller(headers))
        question = question._replace(reasons=True)
        with self._working(model):
            answer = await self.explain_in_thread(self.plane.answer, model, question)
        self.plane.record(question, answer)
        return answer

    async def explain_in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do work for reasons, of a few requests at a time.

        Raises
        ------
        RefusedError
            If there are too many, or it takes longer than a request may.
        """
        if self._explaining >= MAX_EXPLAINING:
            reason = f"{MAX_EXPLAINING} requests for reasons are being answered already; try again later"
            raise RefusedError(503, "busy", reason)
        self._explaining += 1
        try:
            return await self.in_thread(work, *arguments)
        finally:
            self._explaining -= 1

    @contextlib.contextmanager
    def _working(self, model: ServedModel) -> Iterator[None]:
        """Count a request as one that the model is at work on; refuse it if there are too many of the model's."""
        if model.own.max_at_work is not None and model.n_at_work >= model.own.max_at_work:
            self.metrics.add(names.MODEL_REFUSED, 1.0, model.name)
            raise RefusedError(503, "model", f"model {model.name!r} has enough requests at work; try again soon")
        model.n_at_work += 1
        try:
            yield
        finally:
            model.n_at_work -= 1

    def check_ready(self, *models: ServedModel) -> None:
        """Check that these models answered their example rows lately, and that the server is not about to end.

        Raises
        ------
        RefusedError, NotReadyError
            If one of them did not, or it is.
        """
        if self.draining:
            raise RefusedError(503, "drain", "the server is ending")
        for model in models:
            model.check_ready()

    def check_model(self, name: str | None, version: str | None) -> None:
        """Check that a model answered its example row lately, or is loaded when it is asked for.

        Raises
        ------
        RefusedError, NotReadyError, UnknownModelError, UnloadableModelError
            If it does not, or there is none.
        """
        try:
            models = [self.models.find(name, version)]
        except NotLoadedError:
            models = []
        self.check_ready(*models)

    def check_all_ready(self) -> None:
        """Check every champion as ``check_ready`` does; where models are loaded on request, those that always are.

        Raises
        ------
        NoModelError
            If no model is loaded.
        """
        self.check_ready(*self.models.find_kept())

    def describe_tensors(self, model: ServedModel) -> dict[str, Any]:
        """Return a model's metadata of the Open Inference Protocol, with the versions that are loaded."""
        loaded = (self.models.champions.get(model.name), self.models.challengers.get(model.name))
        return model.inference.describe(model.name, [item.version for item in loaded if item is not None])

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Do what takes long without holding up other requests.

        Raises
        ------
        RefusedError
            If it takes longer than a request may.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.settings.serving.request_seconds):
                # Without a name for the future: with one, an error that it holds would keep this frame, and the body, alive.
                return await loop.run_in_executor(self._threads, work, *arguments)
        except TimeoutError:
            raise RefusedError(504, "slow", "the answer took too long; send fewer rows") from None

    def count_refusal(self, error: MLOpsError) -> None:
        """Count a request that is refused before the model sees it."""
        if isinstance(error, RefusedError | TooLargeError):
            self.metrics.add(names.REFUSED, 1.0, error.reason)

    def count(
        self, route: Route, status: int, request_id: bytes, started: float, headers: dict[bytes, bytes], client: Any
    ) -> None:
        """Count a request that was answered; log and trace it where the settings say so.

        Parameters
        ----------
        route
            That it asked for.
        status
            Of HTTP.
        request_id
            That the response has.
        started
            When it arrived, as ``time.perf_counter()``.
        headers
            Name in lower case → value; read for ``traceparent`` and ``X-Forwarded-For``.
        client
            (address, port) of the client; None if it is not known.
        """
        seconds = time.perf_counter() - started
        self.metrics.count_request(route.method, route.template, status, seconds)
        if self._tracer is not None:
            self._tracer.record(route, status, request_id, seconds, headers.get(b"traceparent"))
        if self._log_all or (status >= 400 and self._log_errors):
            entry = {"request_id": request_id.decode(), "method": route.method, "path": route.template, "status": status}
            more = {"milliseconds": round(seconds * 1e3, 3), "client": self.proxies.find_client(headers, client)}
            access_logger.info(json.dumps(entry | more))

    def drain(self) -> None:
        """Close connections with their next response."""
        self.draining = self.refusals.draining = True

    def watch(self, state: Any) -> ConnectionPlaces:
        """Remember uvicorn's sets of connections and tasks; return the places of its connections."""
        if self._state is not state or self._places is None:
            self._state, self._places = state, ConnectionPlaces(self.settings.serving, state.connections)
        return self._places

    def note_load(self) -> None:
        """Set the gauges: the clock, requests in flight, open connections."""
        self.metrics.put_time(names.CLOCK)
        if self._state is not None:
            self.metrics.put(names.IN_FLIGHT, len(self._state.tasks) + self.admission.n_waiting)
            self.metrics.put(names.CONNECTIONS, len(self._state.connections))

    def watch_connections(self, now: float) -> None:
        """Close slow and unused connections; about once a second."""
        if self._state is None or self._places is None:
            return
        for connection in list(self._state.connections):
            connection.close_if_slow(now, self.settings.serving.request_seconds)
        self._places.sweep(now)
        self.note_load()

    def close(self) -> None:
        """Stop the threads, and close the log and the traces."""
        self.remote.close()
        self.loads.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.plane.close()
        if self._tracer is not None:
            self._tracer.close()
