"""Shared fixtures: a real model folder, two layers deep, made once a session; experiment files on a scripted model."""

import atexit
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest
from hypothesis import HealthCheck, settings

# Before anything loads torch: test processes that each start a thread a core wait for each other (measured on two
# cores: tests/tuning took 276 s with one thread a process, about 860 s with two).
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

pytest_plugins = ["pytester"]

# Property tests on a busy machine: no deadline an example, and half of hypothesis' usual number.
settings.register_profile("unhurried", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TEXT = (
    "Turn on the light in the kitchen and close the blinds.",
    "What is the capital of France? The capital of France is Paris.",
    "You are a helpful assistant. Answer with one word only.",
    '{"intent": "light_on", "slots": {"area": "kitchen", "brightness": 40}}',
    "请打开厨房的灯。",
)


@pytest.fixture(scope="module", autouse=True)
def _imports_are_set_apart() -> None:
    """What is loaded by now stays: the many collections of a training, and of an inner pytest, need not walk it."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama in float32 with a byte-level tokenizer and a ChatML template; context 512 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,  # wide enough for likeliest tokens that are no near-ties
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _tokenizer():  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(_TEXT, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


# Folders and files whose tests train, load models, play whole runs or start processes, and fixtures whose users do.
_WHOLE_FOLDERS = frozenset({"engine", "lm_eval_tasks", "plugin", "runner", "situations", "tuning", "weights"})
_WHOLE_FILES = frozenset({"test_cli.py", "test_comparing.py", "test_front.py", "test_verify.py"})
_WHOLE_FIXTURES = frozenset({"browser", "pytester", "tiny_model"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that are more than a piece as `whole`; leave out those marked `slow`, unless -m names them."""
    for item in items:
        fixtures = _WHOLE_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if fixtures or item.path.name in _WHOLE_FILES or _WHOLE_FOLDERS.intersection(item.path.parent.parts):
            item.add_marker("whole")
    if "slow" in str(config.getoption("markexpr")).replace("not slow", ""):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


class _Counter:
    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Nobody watches."""


@dataclass
class Said:
    """A `Progress` that keeps what was said."""

    lines: list[str] = field(default_factory=list)

    @contextmanager
    def meter(self, label: str, *, total: int, unit: str, done: int = 0) -> Iterator[_Counter]:
        yield _Counter()

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def said() -> Said:
    """Where a test's long work reports itself."""
    return Said()


_LAMPS = Path(__file__).with_name("lamps.py.txt")
_AS_WRITTEN = {
    "base": "0.2",
    "tuned": "0.9",
    "learn": "1.0",
    "seconds": "0.0",
    "task": "Lamps()",
    "baselines": "[ZeroShot()]",
    "metrics": "[ExactMatch()]",
    "before": "",
}


@pytest.fixture(scope="session")
def write_experiment() -> Callable[..., Path]:
    """Write an experiment file: GO as it stands, since the model knows `base` of the answers and `tuned` once tuned.

    `before` is Python text that stands before the experiment; other changes replace the text of one field.
    """

    def write(path: Path, **changes: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template(_LAMPS.read_text(encoding="utf-8"))
        path.write_text(text.substitute(_AS_WRITTEN | changes), encoding="utf-8")
        return path

    return write
