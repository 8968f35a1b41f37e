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
    told: Publisher

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.told.ranges.append(self.headers.get("Range"))
        if self.told.refusals:
            status, headers = self.told.refusals.pop(0)
            self._head(status, {"Content-Length": "0", **headers})
        elif path in self.told.files:
            self._serve(self.told.files[path])
        else:
            self._head(404, {"Content-Length": "0"})

    def _serve(self, content: bytes) -> None:
        told, headers = self.told, {}
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if told.has_etag:
            headers["ETag"] = etag
        asked = self.headers.get("Range")
        start, status = 0, 200
        if asked and told.knows_ranges and self.headers.get("If-Range") in (etag, None):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if start >= len(content):
                self._head(416, {"Content-Range": f"bytes */{len(content)}", **told.headers})
                return
        if told.is_compressing and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content)
            headers["Content-Encoding"] = "gzip"
        body = content[start:]
        if told.has_length:
            headers["Content-Length"] = str(len(body))
        self._head(status, headers | told.headers)
        self._send(body[: told.cuts.pop(0)] if told.cuts else body)

    def _send(self, body: bytes) -> None:
        first = len(body) if self.told.pause_after is None else self.told.pause_after
        self.wfile.write(body[:first])
        if body[first:]:
            self.wfile.flush()
            self.told.resume.wait(30)
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
    told = Publisher()
    answer = type("Answer", (Answer,), {"told": told})
    with Server(("127.0.0.1", 0), answer) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            told.resume.set()
            server.shutdown()
            thread.join()
