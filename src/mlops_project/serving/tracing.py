"""OpenTelemetry spans, one per request, if the standard ``OTEL_…`` variables ask for them and the extra ``otel`` is there.

A span is made once the request is answered, from the times that the metrics use: 30 µs if it is sampled, nothing if tracing is
off. A request's W3C ``traceparent`` is its parent, and decides whether it is sampled.
"""

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_project.serving.route import Route

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SHUTDOWN_SECONDS = 2.0  # with the collector down the exporter would go on trying for half a minute

logger = logging.getLogger(__name__)


class Tracer:
    """Makes and exports spans. One per worker."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("mlops_project.serving")
        self._extract, self._kind = TraceContextTextMapPropagator().extract, SpanKind.SERVER

    def record(self, route: "Route", status: int, request_id: bytes, seconds: float, traceparent: bytes | None) -> None:
        """Make the span of a request that was just answered.

        Parameters
        ----------
        seconds
            How long it took.
        traceparent
            The request's header.
        """
        end = time.time_ns()
        parent = None if traceparent is None else self._extract({"traceparent": traceparent.decode("latin-1")})
        attributes = {
            "http.request.method": route.method,
            "http.route": route.template,
            "http.response.status_code": status,
            "mlops.request_id": request_id.decode(),
        }
        start = end - int(seconds * 1e9)
        name = f"{route.method} {route.template}"
        span = self._tracer.start_span(name, context=parent, kind=self._kind, start_time=start, attributes=attributes)
        span.end(end_time=end)

    def close(self) -> None:
        """Export what is left, for a short time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(SHUTDOWN_SECONDS)


def build_tracer() -> Tracer | None:
    """Return a tracer if an OTLP endpoint is set; None otherwise, or if the extra is not installed (which is logged)."""
    asked = any(os.environ.get(name) for name in ENDPOINTS)
    if (
        not asked
        or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        logger.warning("OTEL_… variables are set, but there are no traces: pip install 'mlops_project[otel]'")
        return None
    defaults = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "mlops-model-server"}
    provider = TracerProvider(resource=Resource.create(defaults))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)
