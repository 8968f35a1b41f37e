"""A web server on this machine, which can be as unruly as those out there."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Publisher:
    """What it serves, how it behaves, and what it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []  # the Range of each request
        # What to say to the next requests before serving any: status, headers.
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.cuts: list[int] = []  # the next answers end after so many bytes
        self.headers: dict[str, str] = {}  # in place of the usual ones
        self.has_etag = True
        self.has_length = True
        self.knows_ranges = True
        self.is_compressing = False  # as servers do for browsers
        self.pause_after: int | None = None  # bytes; goes on when `resume` is set
        self.resume = threading.Event()

    @property
    def num_requests(self) -> int:
        return len(self.ranges)


class Answer(BaseHTTPRequestHandler):
    publisher: Publisher

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.publisher.ranges.append(self.headers.get("Range"))
        if self.publisher.refusals:
            status, headers = self.publisher.refusals.pop(0)
            self._head(status, {"Content-Length": "0", **headers})
        elif path in self.publisher.files:
            self._serve(self.publisher.files[path])
        else:
            self._head(404, {"Content-Length": "0"})

    def _serve(self, content: bytes) -> None:
        publisher, headers = self.publisher, {}
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if publisher.has_etag:
            headers["ETag"] = etag
        asked = self.headers.get("Range")
        start, status = 0, 200
        if asked and publisher.knows_ranges and self.headers.get("If-Range") in (etag, None):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if start >= len(content):
                self._head(416, {"Content-Range": f"bytes */{len(content)}", **publisher.headers})
                return
        if publisher.is_compressing and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content)
            headers["Content-Encoding"] = "gzip"
        body = content[start:]
        if publisher.has_length:
            headers["Content-Length"] = str(len(body))
        self._head(status, headers | publisher.headers)
        self._send(body[: publisher.cuts.pop(0)] if publisher.cuts else body)

    def _send(self, body: bytes) -> None:
        first = len(body) if self.publisher.pause_after is None else self.publisher.pause_after
        self.wfile.write(body[:first])
        if body[first:]:
            self.wfile.flush()
            self.publisher.resume.wait(30)
            self.wfile.write(body[first:])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that left is none of the server's business."""


@contextmanager
def publishing() -> Iterator[Publisher]:
    publisher = Publisher()
    answer = type("Answer", (Answer,), {"publisher": publisher})
    with Server(("127.0.0.1", 0), answer) as server:
        publisher.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield publisher
        finally:
            publisher.resume.set()
            server.shutdown()
            thread.join()
