"""Servers on this machine that know the right answers and reply in the forms that hosted models reply in."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.situations.situation import Got, decide_once
from benchmarks.situations.world import answers, world
from harness import Endpoint, Experiment, Split, ZeroShot

# The status and body that a question is replied with, whose right answer is given.
Replies = Callable[[str], tuple[int, object]]


def hosted(replies: Replies, **fields: object) -> Callable[[Path], Got]:
    """Return a play whose baseline is a server that knows 80 % of the answers; the tuned model knows 30 %."""

    def play(folder: Path) -> Got:
        built = world(0.0, 0.3)
        known: dict[str, str] = {}
        for split in (Split.DEV, Split.HOLDOUT):
            count = len(built.task.samples(split))
            known |= answers(built.task, split, frozenset(range(round(0.8 * count))))
        with _serving(known, replies) as url:
            large = Endpoint(url, "large", retries=0, concurrency=8, **fields)  # type: ignore[arg-type]
            experiment: Experiment = built.experiment(baselines=[ZeroShot(model=large)])
            return decide_once(experiment, folder)

    return play


def parts(answer: str) -> tuple[int, object]:
    """Reply with a list of parts, and thoughts among them."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "I look at the name."}]}
    return _chat({"content": [thought, *({"type": "text", "text": half} for half in (answer[:1], answer[1:]))]})


def thoughts_only(answer: str) -> tuple[int, object]:
    """Reply with nothing but thoughts, cut at the limit."""
    return _chat({"content": None, "reasoning_content": f"It may be {answer}, but"}, "length")


def filtered(answer: str) -> tuple[int, object]:
    """Refuse what is asked about red things, as Azure's content filter does."""
    if answer == "red":
        return 400, {"error": {"code": "content_filter", "message": "The prompt triggered the content policy"}}
    return _chat({"content": answer})


def _chat(message: Mapping[str, object], reason: str = "stop") -> tuple[int, object]:
    return 200, {"choices": [{"message": message, "finish_reason": reason}], "usage": None}


@contextmanager
def _serving(known: Mapping[str, str], replies: Replies) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, told = replies(known[body["messages"][-1]["content"]])
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Keep the terminal clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/v1"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
