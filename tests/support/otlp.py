"""An OTLP/HTTP receiver: accepts spans as a collector does, with configurable faults."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, Any] = field(default_factory=dict)


class OtlpReceiver:
    """Listens on loopback from `with` on.

    Attributes:
        raw: every request's body, unpacked, for tests that look for what must not be in it.
        status: what it answers; spans count only with 200.
        silent: it takes requests and doesn't answer while this is set.
    """

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.status = 200
        self.silent = threading.Event()
        self._spans: list[ReceivedSpan] = []
        self._goes_on = threading.Event()
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.headers.append(dict(self.headers.items()))
                if receiver.silent.is_set():
                    receiver._goes_on.wait(60)
                    self.close_connection = True
                    return
                receiver._take(body)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[ReceivedSpan]:
        return list(self._spans)

    def named(self, name: str, service: str | None = None) -> list[ReceivedSpan]:
        return [s for s in self.spans if s.name == name and service in {None, s.service}]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._goes_on.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: bytes) -> None:
        self.raw.append(body)
        if self.status != 200:
            return
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self._spans += [_read(span, named["service.name"]) for span in scope.spans]


def _read(span: Any, service: str) -> ReceivedSpan:
    def value(found: Any) -> Any:
        return getattr(found, found.WhichOneof("value"))

    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes={each.key: value(each.value) for each in span.attributes},
    )
