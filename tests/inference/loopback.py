"""A real HTTP server on this machine that answers as a test says."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Server:
    """reply: what is answered to the n-th request (from 0) with this body. paths: those that were asked."""

    reply: Callable[[int, dict], Reply]
    url: str = ""
    requests: list[tuple[float, dict, dict]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    working: int = 0
    most_at_once: int = 0

    def handle(self, handler: BaseHTTPRequestHandler, lock: threading.Lock) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with lock:
            place = len(self.requests)
            self.requests.append((time.monotonic(), body, dict(handler.headers)))
            self.paths.add(handler.path)
            self.working += 1
            self.most_at_once = max(self.most_at_once, self.working)
        reply = self.reply(place, body)
        time.sleep(reply.seconds)
        with lock:
            self.working -= 1
        content = reply.body.encode()
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def serving(reply: Callable[[int, dict], Reply]) -> Iterator[Server]:
    server, lock = Server(reply), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # A client that gave up has closed the connection.
            try:
                server.handle(self, lock)
            except BrokenPipeError:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
