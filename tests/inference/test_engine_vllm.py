"""The vLLM engine over a command that stands for `vllm`: processes, requests, adapters, ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import environments
from harness.errors import MissingPackage, StageFailed
from harness.inference.models.loading import tokenizer_of
from harness.inference.models.rendering import answer_ids, end_id, prompt_ids
from harness.inference.vllm.engine import VllmEngine, open_engine
from harness.types.models import Model
from harness.types.samples import Decoding, Message

PROMPTS = [(Message("user", f"Lamp {place}?"),) for place in range(3)]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the server that stands for vLLM tells what it was asked; `die` there ends it."""
    cache, told = tmp_path / "cache", tmp_path / "told"
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    monkeypatch.setenv("FAKE_VLLM", str(told))
    monkeypatch.delenv("HARNESS_VLLM", raising=False)
    told.mkdir()
    environment = environments.VLLM["cpu"].folder
    command = environment / "bin" / "vllm"
    command.parent.mkdir(parents=True)
    text = Path(__file__).with_name("fake_vllm.py.txt").read_text(encoding="utf-8")
    command.write_text(text.replace("PYTHON", sys.executable, 1), encoding="utf-8")
    command.chmod(0o755)
    (environment / "installed.txt").write_text("vllm\n", encoding="utf-8")
    return told


@pytest.fixture
def engine(fake: Path, tiny_model: Path, said: Any) -> Iterator[VllmEngine]:
    engine = open_engine(Model(str(tiny_model), engine="vllm", dtype="float32"), progress=said)
    yield engine
    engine.close()


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir()
    written = {"peft_type": "LORA", "r": 4, "bias": "none", "use_dora": False, **config}
    (folder / "adapter_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


def texts(engine: VllmEngine, **decoding: Any) -> list[str]:
    found = {}
    for places, batch in engine.generate(PROMPTS, Decoding(**decoding)):
        found |= {place: item.text for place, item in zip(places, batch, strict=True)}
    return [found[place] for place in range(len(PROMPTS))]


def requests(told: Path) -> list[Any]:
    return [json.loads(line) for line in (told / "requests").read_text().splitlines()]


def pids(told: Path) -> list[int]:
    return [int(word) for word in (told / "pids").read_text().split()]


def ended(told: Path) -> bool:
    """Tell whether all the server's processes are gone, waiting a little for it."""
    waited_until = time.monotonic() + 300
    while time.monotonic() < waited_until:
        if not any(_runs(pid) for pid in pids(told)):
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_without_its_environment_the_command_that_makes_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path, said: Any
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.delenv("HARNESS_VLLM", raising=False)
    with pytest.raises(MissingPackage, match="make it with: harness vllm install"):
        open_engine(Model(str(tiny_model), engine="vllm"), progress=said)
    monkeypatch.setenv("HARNESS_VLLM", str(tmp_path / "gone"))
    with pytest.raises(MissingPackage, match=r"HARNESS_VLLM=.*gone is no file"):
        open_engine(Model(str(tiny_model), engine="vllm"), progress=said)


def test_prompts_go_as_our_tokens_to_a_server_on_loopback(
    engine: VllmEngine, fake: Path, tiny_model: Path, said: Any
) -> None:
    assert texts(engine, max_tokens=5) == ["base 5"] * 3
    tokenizer = tokenizer_of(tiny_model)
    sent = requests(fake)
    assert sorted(body["prompt"] for _, _, body in sent) == sorted(prompt_ids(tokenizer, item) for item in PROMPTS)
    assert {tuple(body["stop_token_ids"]) for _, _, body in sent} == {(end_id(tokenizer),)}
    command, environment = (json.loads((fake / name).read_text()) for name in ("command", "environment"))
    assert command[:2] == ["serve", str(tiny_model)]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--enable-prefix-caching" in command
    assert "--enable-lora" not in command
    assert {authorization for _, authorization, _ in sent} == {f"Bearer {environment['VLLM_API_KEY']}"}
    assert environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert command[command.index("--block-size") + 1] == "32"
    assert (environment["VLLM_NO_USAGE_STATS"], environment["HF_HUB_OFFLINE"]) == ("1", "1")
    assert (engine.description["engine"], engine.description["vllm"]) == ("vllm", "0.32.0")
    assert [line.partition(" after")[0] for line in said.lines] == [
        f"vLLM is starting with {tiny_model.name} (about a minute)",
        "vLLM is ready",
    ]


def test_an_answer_ends_where_the_context_does(engine: VllmEngine, tiny_model: Path) -> None:
    room = 64 - len(prompt_ids(tokenizer_of(tiny_model), PROMPTS[0]))
    assert texts(engine, max_tokens=500) == [f"base {room}"] * 3


def test_likelihoods_are_sums_over_the_answers_tokens(engine: VllmEngine, tiny_model: Path) -> None:
    tokenizer = tokenizer_of(tiny_model)
    prompt, answer = prompt_ids(tokenizer, PROMPTS[0]), answer_ids(tokenizer, "kitchen", end=False)
    ids = [*prompt, *answer]
    pairs = list(zip(ids[len(prompt) - 1 :], answer, strict=False))
    expected = sum(-0.01 - (before * 31 + token * 17) % 97 / 20 for before, token in pairs)
    ((places, (got,)),) = engine.likelihoods([(PROMPTS[0], "kitchen")])
    assert (places, got.tokens, got.bytes) == ((0,), len(answer), 7)
    assert got.logprob == pytest.approx(expected)


def test_choices_share_their_beginnings_and_weigh_as_they_do_alone(engine: VllmEngine, fake: Path) -> None:
    choices = ["kitchen", "kitchen light", "light", ""]
    together = [(prompt, choice) for prompt in PROMPTS[:2] for choice in choices]
    ((places, shared),) = engine.likelihoods(together)
    asked = len(requests(fake))
    alone = [likelihoods[0] for request in together for _, likelihoods in engine.likelihoods([request])]
    assert places == tuple(range(8))
    assert [item.logprob for item in shared] == pytest.approx([item.logprob for item in alone])
    assert [(i.tokens, i.bytes, i.greedy) for i in shared] == [(i.tokens, i.bytes, i.greedy) for i in alone]
    nodes = [tuple(body["prompt"]) for _, _, body in requests(fake)[:asked]]
    assert len(set(nodes)) == len(nodes)


def test_an_adapter_is_loaded_beside_the_base(engine: VllmEngine, fake: Path, tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "one"), adapter(tmp_path / "other", rank_pattern={"q_proj": 12})
    engine.use(one)
    assert texts(engine, max_tokens=2) == ["adapter-0 2"] * 3
    running = pids(fake)
    engine.use(None)
    assert texts(engine, max_tokens=2) == ["base 2"] * 3
    engine.use(one)
    assert texts(engine, max_tokens=2) == ["adapter-0 2"] * 3
    assert pids(fake) == running
    assert [body for path, _, body in requests(fake) if path == "/v1/load_lora_adapter"] == [
        {"lora_name": "adapter-0", "lora_path": str(one)}
    ]
    engine.use(other)  # of a higher rank than the server has room for
    assert texts(engine, max_tokens=2) == ["adapter-0 2"] * 3
    command = json.loads((fake / "command").read_text())
    assert command[command.index("--max-lora-rank") + 1] == "16"


def test_with_an_adapter_no_echo_is_asked_for(engine: VllmEngine, fake: Path, tmp_path: Path) -> None:
    ((_, (plain,)),) = engine.likelihoods([(PROMPTS[0], "kitchen")])
    engine.use(adapter(tmp_path / "one"))
    before = len(requests(fake))
    ((_, (tuned,)),) = engine.likelihoods([(PROMPTS[0], "kitchen")])
    assert tuned.logprob == pytest.approx(plain.logprob)
    assert [path for path, _, body in requests(fake)[before:] if "prompt_logprobs" in body] == []


def test_a_whole_tuned_model_is_served_in_the_bases_place(
    engine: VllmEngine, fake: Path, tiny_model: Path, tmp_path: Path
) -> None:
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    (tuned / "config.json").write_text("{}", encoding="utf-8")
    engine.use(tuned)
    assert texts(engine, max_tokens=2) == ["base 2"] * 3
    command = json.loads((fake / "command").read_text())
    assert command[1] == str(tuned)
    assert command[command.index("--tokenizer") + 1] == str(tiny_model)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 1024}, "rank 1024"),
    ],
)
def test_an_adapter_that_vllm_does_not_compute_is_refused(
    engine: VllmEngine, tmp_path: Path, config: dict[str, object], named: str
) -> None:
    with pytest.raises(StageFailed, match=f"{named}; use Model.*, or merge it, since whole models are served"):
        engine.use(adapter(tmp_path / "odd", **config))


def test_virtual_tokens_are_refused_without_the_advice_to_merge_them(engine: VllmEngine, tmp_path: Path) -> None:
    with pytest.raises(
        StageFailed, match=r"peft_type PREFIX_TUNING; use Model\(\.\.\., engine='transformers'\) for it$"
    ):
        engine.use(adapter(tmp_path / "prefix", peft_type="PREFIX_TUNING", num_virtual_tokens=8))


def test_closing_ends_all_processes_and_removes_the_log(engine: VllmEngine, fake: Path, tmp_path: Path) -> None:
    texts(engine, max_tokens=2)
    assert all(_runs(pid) for pid in pids(fake))
    engine.close()
    assert ended(fake)
    assert list((tmp_path / "cache" / "logs").iterdir()) == []


def test_a_server_that_dies_while_starting_shows_the_end_of_its_log(engine: VllmEngine, fake: Path) -> None:
    (fake / "die").touch()
    with pytest.raises(StageFailed) as failure:
        texts(engine)
    assert "vLLM ended with code 3" in str(failure.value)
    shown = str(failure.value).splitlines()
    assert shown[1:3] == ["RuntimeError: no memory for keys and values", "  File somewhere"]
    assert shown[-2:] == ["RuntimeError: see above", "mend that, or use engine='transformers'; running again resumes"]
    assert ended(fake)


def test_a_server_that_dies_at_work_shows_the_end_of_its_log(engine: VllmEngine, fake: Path) -> None:
    texts(engine, max_tokens=2)
    (fake / "die").touch()
    with pytest.raises(StageFailed, match=r"vLLM ended with code 9(?s:.*)Segmentation fault"):
        texts(engine, max_tokens=2)
    assert ended(fake)


def test_the_server_ends_with_a_harness_that_is_killed(fake: Path, tiny_model: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from harness.inference.vllm.server import Serving, VllmServer\n"
        "class Said:\n    def say(self, line): print(line, flush=True)\n"
        "folder = Path(sys.argv[1])\n"
        "server = VllmServer(Serving(folder, folder, 'float32'), progress=Said())\n"
        "input()\n"
    )
    harness = subprocess.Popen(
        [sys.executable, "-c", script, str(tiny_model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert harness.stdout is not None
    assert [line.partition(" after")[0] for line in (harness.stdout.readline(), harness.stdout.readline())][1] == (
        "vLLM is ready"
    )
    assert all(_runs(pid) for pid in pids(fake))
    os.kill(harness.pid, signal.SIGKILL)
    harness.communicate()
    assert ended(fake)


def test_repeats_of_a_prompt_are_drawn_apart(engine: VllmEngine, fake: Path) -> None:
    repeated = [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[0]]
    list(engine.generate(repeated, Decoding(max_tokens=2, temperature=1.0, seed=40)))
    sent = [(tuple(body["prompt"]), body["seed"]) for _, _, body in requests(fake)]
    first = max({prompt for prompt, _ in sent}, key=[prompt for prompt, _ in sent].count)
    assert sorted(seed for prompt, seed in sent if prompt == first) == [40, 41, 42]
    assert [seed for prompt, seed in sent if prompt != first] == [40]
