"""A recipe's run beside what a machine has free."""

from pathlib import Path

import pytest

from harness.metrics import ExactMatch
from harness.recipes import DPO, GRPO, KTO, SFT, DoRA, Full, LoRA, QLoRA, Steps
from harness.resources.estimate import estimate_run, estimates, gib, smaller, spoken, way_out
from harness.resources.machine import GIB, Machine, gpu_of, this_machine
from harness.resources.model_shape import shape_of
from harness.resources.time import Duration, TrainingPace, Work, duration_text, measured_rate, operations, reading_rate
from tests.resources.test_model_shape import LLAMA_3B, SMOLLM

PACE, SLOW = TrainingPace(rate=1e11), TrainingPace(rate=1e9)
WORK = Work(rows=100, length=256, answer=16)


def machine(free: float, *, disk: float = 1000) -> Machine:
    return Machine(
        kind="cpu", name="CPU", free=round(free * GIB), total=64 * GIB, disk=round(disk * GIB), bfloat16=True
    )


def test_an_estimate_is_held_against_memory_and_disk() -> None:
    shape = shape_of(SMOLLM)
    found = estimate_run(shape, SFT(adapter=Full()), machine(16), WORK, pace=PACE)
    assert found.fits
    assert not found.cannot_fit
    # Four checkpoints of weights and two moments, and what stays.
    assert found.saved == 4 * shape.parameters
    assert found.disk == (4 * 12 + 4) * shape.parameters
    assert not estimate_run(shape, SFT(adapter=Full()), machine(16, disk=1), WORK, pace=PACE).fits
    assert estimate_run(shape, SFT(adapter=Full()), machine(16, disk=1), WORK, pace=PACE).cannot_fit


def test_only_what_is_beyond_all_doubt_cannot_fit() -> None:
    shape = shape_of(SMOLLM)
    needed = estimate_run(shape, SFT(), machine(64), WORK, pace=PACE).memory.total / GIB
    near = estimate_run(shape, SFT(), machine(needed * 0.9), WORK, pace=PACE)
    far = estimate_run(shape, SFT(), machine(needed * 0.75), WORK, pace=PACE)
    assert (near.fits, near.cannot_fit) == (False, False)
    assert (far.fits, far.cannot_fit) == (False, True)


def test_the_smaller_recipe_comes_nearest_first() -> None:
    shape = shape_of(LLAMA_3B)

    def instead(recipe: SFT, free: float) -> SFT:
        found = smaller(estimate_run(shape, recipe, gpu_of(free), WORK, pace=PACE), pace=PACE)
        assert found is not None
        assert found.fits
        return found.recipe  # type: ignore[return-value]

    # Fewer examples at once change nothing that is learned.
    assert instead(SFT(adapter=LoRA(rank=8)), 12) == SFT(adapter=LoRA(rank=8), micro_batch_size=4)
    assert instead(SFT(adapter=Full(), learning_rate=1e-5), 24) == SFT(adapter=LoRA())
    assert instead(SFT(adapter=LoRA(rank=8)), 7) == SFT(adapter=QLoRA(rank=8), micro_batch_size=4)
    too_large = estimate_run(shape, SFT(), gpu_of(1), WORK, pace=PACE)
    assert smaller(too_large, pace=PACE) is None


def test_rows_are_no_longer_than_recipe_and_context_let_them_be() -> None:
    shape = shape_of(SMOLLM)
    assert estimate_run(shape, SFT(max_length=64), machine(8), WORK, pace=PACE).work.length == 64
    assert (
        estimate_run(
            shape_of({**SMOLLM, "max_position_embeddings": 32}), SFT(), machine(8), WORK, pace=PACE
        ).work.length
        == 32
    )


def test_steps_are_estimated_one_by_one_and_a_foreign_recipe_is_not() -> None:
    both = estimates(shape_of(SMOLLM), Steps([SFT(), DPO()]), machine(8), WORK, pace=PACE)
    assert [one.recipe for one in both] == [SFT(), DPO()]

    class Foreign:
        name, trainer, prompt = "foreign", "somewhere:fit", None

    assert estimates(shape_of(SMOLLM), Foreign(), machine(8), WORK, pace=PACE) == ()


def test_the_sentence_says_what_is_needed_beside_what_is_free() -> None:
    said = estimate_run(shape_of(SMOLLM), SFT(), machine(8), WORK, pace=PACE).sentence
    assert said.startswith("sft lora-r16: about ")
    assert "8.0 GiB of 64.0 GiB free (CPU)" in said


def test_time_is_operations_over_a_rate() -> None:
    shape = shape_of(SMOLLM)
    assert operations(shape, Full(), tokens=10) == 60 * shape.parameters
    assert operations(shape, LoRA(), tokens=10) == 40 * shape.parameters
    plain = Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)
    found = duration_text(shape, SFT(epochs=2), plain, Work(rows=10, mean=100, length=100, answer=10, dev=0), pace=SLOW)
    assert found.low == pytest.approx(4 * shape.parameters * 2000 / 1e9)
    assert found.high == pytest.approx(5 * found.low + 20)
    searched = duration_text(
        shape,
        SFT(epochs=2, search={"rank": (2, 8)}, trials=5),
        plain,
        Work(rows=10, mean=100, length=100, answer=10, dev=0),
        pace=SLOW,
    )
    assert searched.low == pytest.approx(5 * found.low)


def test_evaluations_and_slower_methods_take_their_time() -> None:
    shape, plain = shape_of(SMOLLM), Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)

    def seconds(recipe: SFT, dev: int = 0) -> float:
        work = Work(rows=40, mean=100, length=100, answer=10, dev=dev)
        return duration_text(shape, recipe, plain, work, pace=SLOW).low

    trained = 4 * shape.parameters * 4000 / 1e9
    each = 2 * shape.parameters * 2000 / 1e9  # 20 dev rows, forward only
    assert seconds(SFT(epochs=1)) == pytest.approx(trained)
    assert seconds(SFT(epochs=1), dev=20) == pytest.approx(trained + 10 * each)
    assert seconds(SFT(epochs=1, batch_size=4, evaluate_every=5), dev=20) == pytest.approx(trained + 2 * each)
    assert seconds(SFT(epochs=1, batch_size=4, evaluate_every=5, evaluate_on=10), dev=20) == pytest.approx(
        trained + each
    )
    assert seconds(SFT(epochs=1, adapter=DoRA())) == pytest.approx(2.1 * trained)
    assert seconds(SFT(epochs=1, adapter=LoRA(init="eva"))) == pytest.approx(2.1 * trained)
    assert seconds(SFT(epochs=1, adapter=QLoRA())) == pytest.approx(1.6 * trained)
    assert seconds(DPO(epochs=1)) == pytest.approx(5 * trained)
    assert seconds(KTO(epochs=1)) == pytest.approx(12 * trained)


def test_answers_that_are_drawn_end_somewhere_between_a_known_one_and_their_limit() -> None:
    shape, plain = shape_of(SMOLLM), Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)
    recipe = GRPO(reward=ExactMatch(), epochs=1, generations=4, max_tokens=50)
    found = duration_text(shape, recipe, plain, Work(rows=8, mean=100, length=100, answer=10, dev=0), pace=SLOW)
    trained = 4 * shape.parameters * 100 * 8 * 4 / 1e9
    drawn = 10 * 2 * shape.parameters * 8 * 4 / 1e9  # a token of every answer
    assert found.low == pytest.approx(trained + 10 * drawn)
    assert found.high == pytest.approx(5 * (trained + 50 * drawn) + 20)


def test_a_busy_machine_does_not_lower_the_rate_that_was_measured(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.resources.time._measure", lambda: 5e10)
    assert measured_rate() == 5e10
    monkeypatch.setattr("harness.resources.time._measure", lambda: 1e10)
    assert measured_rate() == 5e10


def test_this_machine_has_some_memory_and_disk(tmp_path: Path) -> None:
    found = this_machine(tmp_path / "not" / "there", device="cpu")
    assert found.kind == "cpu"
    assert 0 < found.free <= found.total
    assert found.disk > 0


@pytest.mark.parametrize(
    ("size", "shown"), [(GIB, "1.0 GiB"), (GIB // 2, "0.5 GiB"), (5 * 2**20, "5 MiB"), (0, "0 MiB")]
)
def test_sizes_are_shown_as_a_page_shows_them(size: int, shown: str) -> None:
    assert gib(size) == shown


def test_durations_are_shown_as_rough_ranges() -> None:
    assert spoken(Duration(0.1, 61)) == "1 s to 61 s"
    assert spoken(Duration(100, 8000)) == "2 min to 2.2 h"


def test_rows_are_counted_at_their_mean_and_memory_at_the_longest() -> None:
    shape = shape_of(SMOLLM)
    alike, apart = Work(rows=100, length=256), Work(rows=100, length=256, mean=64)
    one, other = (estimate_run(shape, SFT(), machine(16), work, pace=PACE) for work in (alike, apart))
    assert one.memory == other.memory
    assert other.duration.low == pytest.approx(one.duration.low / 4)


def test_a_model_that_was_timed_narrows_the_range() -> None:
    shape, plain = shape_of(SMOLLM), Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)
    # 800 tokens in a second; training costs twice the operations of reading.
    pace = TrainingPace(rate=1e12, reading=reading_rate(shape, tokens=800, seconds=1.0))
    found = duration_text(shape, SFT(epochs=1), plain, Work(rows=100, mean=80, length=300, answer=10, dev=0), pace=pace)
    assert (found.low, found.high) == (pytest.approx(2 * 10 / 1.2), pytest.approx(2 * 10 / 0.4 + 20))


def test_what_devices_share_is_counted_for_each_of_them() -> None:
    shape, work = shape_of(LLAMA_3B), Work(rows=100, length=256)

    def of(recipe: SFT) -> dict[str, int]:
        found = estimate_run(shape, recipe, gpu_of(48), work, pace=PACE)
        return {part.name: part.bytes for part in found.memory.parts}

    alone = of(SFT(adapter=Full(), batch_size=8, micro_batch_size=2))
    for strategy, divided in (
        ("ddp", ()),
        ("zero2", ("gradients", "optimizer")),
        ("zero3", ("weights", "gradients", "optimizer")),
        ("fsdp2", ("weights", "gradients", "optimizer")),
    ):
        shared = of(SFT(adapter=Full(), batch_size=8, devices=4, strategy=strategy))
        for name in ("weights", "gradients", "optimizer", "activations"):
            assert shared[name] == alone[name] // (4 if name in divided else 1), (strategy, name)
        assert ("gathered block" in shared) == (strategy in ("zero3", "fsdp2"))


def test_processes_on_a_cpu_share_one_memory() -> None:
    shape = shape_of(SMOLLM)
    one = estimate_run(shape, SFT(batch_size=2), machine(64), WORK, pace=PACE)
    two = estimate_run(shape, SFT(batch_size=4, devices=2), machine(64), WORK, pace=PACE)
    assert two.memory.training == 2 * one.memory.training


def test_devices_share_more_before_anything_else_is_trained() -> None:
    shape, recipe = shape_of(LLAMA_3B), SFT(adapter=Full(), devices=4, batch_size=8)
    found = estimate_run(shape, recipe, gpu_of(18), WORK, pace=PACE)
    other = smaller(found, pace=PACE)
    assert other is not None
    assert other.recipe == SFT(adapter=Full(), devices=4, batch_size=8, strategy="zero3")
    assert found.where == "each of 4 devices, a GPU of 18 GiB"
    assert "this would fit, in " in way_out(found, pace=PACE)


def test_what_only_answering_does_not_fit_answers_in_4_bits() -> None:
    llama_7b = {**LLAMA_3B, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    llama_7b |= {
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    }
    recipe = SFT(adapter=QLoRA(), batch_size=8, micro_batch_size=1)
    found = estimate_run(shape_of(llama_7b), recipe, gpu_of(12), Work(rows=100, length=512), pace=PACE)
    assert (found.fits, found.only_answering) == (False, True)
    assert way_out(found, pace=PACE).startswith('it fits with Model(..., quantize="nf4"), which answers in 4 bits, in ')
    few = Work(rows=100, length=512, quantize="nf4")
    assert estimate_run(shape_of(llama_7b), recipe, gpu_of(12), few, pace=PACE).fits
    nowhere = estimate_run(shape_of(llama_7b), recipe, gpu_of(3), few, pace=PACE)
    assert way_out(nowhere, pace=PACE).startswith("even 1 at once, answered in 4 bits, takes ")


def test_a_rented_machine_is_not_asked_for_its_disk() -> None:
    found = estimate_run(shape_of(LLAMA_3B), SFT(adapter=Full(), batch_size=1), gpu_of(80), WORK, pace=PACE)
    assert found.fits
    assert "of disk, not asked about; " in found.sentence
