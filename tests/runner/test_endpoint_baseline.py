"""A baseline on a server that fails at times: a real one, on this machine."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import Endpoint, Experiment, Split, StageFailed, ZeroShot
from harness.experiment.decide import Verdict
from harness.runner.run import run_plan
from harness.store.store import Store

PRICES = {"price_in": 2.0, "price_out": 8.0}


class Server:
    """Answers every question rightly. refused: status by the number of the request, from 1; `asked` counts prompts."""

    def __init__(self, right: dict[str, str]) -> None:
        self.right = right
        self.refused: dict[int, int] = {}
        self.asked: Counter[str] = Counter()
        self.url = ""
        self._lock = threading.Lock()

    def reply(self, prompt: str) -> tuple[int, bytes]:
        with self._lock:
            status = self.refused.get(self.asked.total() + 1, 200)
            self.asked[prompt] += 1
        if status != 200:
            return status, b"the server is on fire"
        body = {
            "choices": [{"message": {"content": self.right.get(prompt, "no")}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 1},
        }
        return 200, json.dumps(body).encode()


@pytest.fixture
def server(make_experiment: Callable[..., Experiment]) -> Iterator[Server]:
    # As much as the tuned model will know, and a quarter less: the experiment ends with GO.
    known = make_experiment(base=0.7).model.answers
    state = Server(dict(known))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = state.reply(request["messages"][-1]["content"])
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def experiment(make_experiment: Callable[..., Experiment], server: Server) -> Experiment:
    hosted = ZeroShot(model=Endpoint(server.url, "large", **PRICES, concurrency=2), label="hosted")
    return make_experiment(baselines=[ZeroShot(), hosted])


def test_a_server_that_answers_500_twice_and_recovers_costs_nothing(
    experiment: Experiment, server: Server, store: Store
) -> None:
    server.refused = {3: 500, 4: 500}

    assert run_plan(experiment, name="lamps", store=store).decision.verdict is Verdict.GO

    (hosted,) = [system for system in store.evidence("lamps").systems if system.system == "hosted @ large"]
    assert (hosted.model, hosted.chosen, hosted.price_in, hosted.price_out) == ("large", True, 2.0, 8.0)
    stages = "SELECT split, tokens_in, tokens_out FROM stages WHERE system = 'hosted @ large' ORDER BY split"
    assert store.query(stages)[1] == [("dev", 40 * 7, 40), ("holdout", 200 * 7, 200)]
    (exact,) = store.evidence("lamps").comparisons
    assert (exact.baseline, exact.baseline_mean, exact.tuned_mean) == ("hosted @ large", 0.7, 0.9)
    assert server.asked.total() == 242


def test_a_server_that_refuses_stops_the_stage_and_running_again_asks_only_for_the_rest(
    experiment: Experiment, server: Server, store: Store
) -> None:
    server.refused = {20: 400}
    with pytest.raises(StageFailed, match=r"status 400: the server is on fire.*running again resumes"):
        run_plan(experiment, name="lamps", store=store)
    kept = store.query("SELECT sample_id FROM answers WHERE stage_key NOT IN (SELECT key FROM stages)")[1]
    first = Counter(server.asked)

    assert run_plan(experiment, name="lamps", store=store).decision.verdict is Verdict.GO

    assert len(kept) == first.total() - 1  # whatever was answered, also beside the refused one
    assert 20 <= len(kept) <= 22  # two at a time
    again = {prompt for prompt, count in server.asked.items() if count > 1}
    dev = experiment.task.samples(Split.DEV)
    assert not again & {experiment.task.prompt(sample)[-1].content for sample in dev if (sample.id,) in kept}
    assert len(again) == 1
    assert again <= set(first)


def test_half_a_character_from_a_server_is_stored_as_a_mark(
    experiment: Experiment, server: Server, store: Store
) -> None:
    cut = next(iter(server.right))
    server.right[cut] = "a lamp \ud83d"  # the first half of an emoji, as a server that cuts UTF-16 sends it

    assert run_plan(experiment, name="lamps", store=store).decision.verdict is Verdict.GO
    assert store.query("SELECT text FROM answers WHERE text LIKE 'a lamp%'")[1] == [("a lamp ?",)]
