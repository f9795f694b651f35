"""A recipe's run beside what a machine has free."""

from pathlib import Path

import pytest

from harness.estimates.machine import GIB, Machine, gpu_of, this_machine
from harness.estimates.run import Work, estimate, estimates, gib, smaller, spoken
from harness.estimates.shape import shape_of
from harness.estimates.speed import Duration, duration, measured_rate, operations
from harness.metrics import ExactMatch
from harness.recipes import DPO, GRPO, KTO, SFT, DoRA, Full, LoRA, QLoRA, Steps
from tests.estimates.test_shape import LLAMA_3B, SMOLLM

WORK = Work(rows=100, length=256, answer=16)


def machine(free: float, *, disk: float = 1000) -> Machine:
    return Machine(
        kind="cpu", name="CPU", free=round(free * GIB), total=64 * GIB, disk=round(disk * GIB), bfloat16=True
    )


def test_an_estimate_is_held_against_memory_and_disk() -> None:
    shape = shape_of(SMOLLM)
    found = estimate(shape, SFT(adapter=Full()), machine(16), WORK, rate=1e11)
    assert found.fits
    assert not found.cannot_fit
    # Four checkpoints of weights and two moments, and what stays.
    assert found.saved == 4 * shape.parameters
    assert found.disk == (4 * 12 + 4) * shape.parameters
    assert not estimate(shape, SFT(adapter=Full()), machine(16, disk=1), WORK, rate=1e11).fits
    assert estimate(shape, SFT(adapter=Full()), machine(16, disk=1), WORK, rate=1e11).cannot_fit


def test_only_what_is_beyond_all_doubt_cannot_fit() -> None:
    shape = shape_of(SMOLLM)
    needed = estimate(shape, SFT(), machine(64), WORK, rate=1e11).memory.total / GIB
    near = estimate(shape, SFT(), machine(needed * 0.9), WORK, rate=1e11)
    far = estimate(shape, SFT(), machine(needed * 0.75), WORK, rate=1e11)
    assert (near.fits, near.cannot_fit) == (False, False)
    assert (far.fits, far.cannot_fit) == (False, True)


def test_the_smaller_recipe_comes_nearest_first() -> None:
    shape = shape_of(LLAMA_3B)

    def instead(recipe: SFT, free: float) -> SFT:
        found = smaller(estimate(shape, recipe, gpu_of(free, disk=10**13), WORK, rate=1e11), rate=1e11)
        assert found is not None
        assert found.fits
        return found.recipe  # type: ignore[return-value]

    # Fewer examples at once change nothing that is learned.
    assert instead(SFT(adapter=LoRA(rank=8)), 12) == SFT(adapter=LoRA(rank=8), micro_batch_size=4)
    assert instead(SFT(adapter=Full(), learning_rate=1e-5), 24) == SFT(adapter=LoRA())
    assert instead(SFT(adapter=LoRA(rank=8)), 7) == SFT(adapter=QLoRA(rank=8), micro_batch_size=4)
    too_large = estimate(shape, SFT(), gpu_of(1, disk=10**13), WORK, rate=1e11)
    assert smaller(too_large, rate=1e11) is None


def test_rows_are_no_longer_than_recipe_and_context_let_them_be() -> None:
    shape = shape_of(SMOLLM)
    assert estimate(shape, SFT(max_length=64), machine(8), WORK, rate=1e11).work.length == 64
    assert (
        estimate(shape_of({**SMOLLM, "max_position_embeddings": 32}), SFT(), machine(8), WORK, rate=1e11).work.length
        == 32
    )


def test_steps_are_estimated_one_by_one_and_a_foreign_recipe_is_not() -> None:
    both = estimates(shape_of(SMOLLM), Steps([SFT(), DPO()]), machine(8), WORK, rate=1e11)
    assert [one.recipe for one in both] == [SFT(), DPO()]

    class Foreign:
        name, trainer, prompt = "foreign", "somewhere:fit", None

    assert estimates(shape_of(SMOLLM), Foreign(), machine(8), WORK, rate=1e11) == ()


def test_the_sentence_says_what_is_needed_beside_what_is_free() -> None:
    said = estimate(shape_of(SMOLLM), SFT(), machine(8), WORK, rate=1e11).sentence
    assert said.startswith("sft lora-r16: about ")
    assert "8.0 GiB of 64.0 GiB free (CPU)" in said


def test_time_is_operations_over_a_rate() -> None:
    shape = shape_of(SMOLLM)
    assert operations(shape, Full(), tokens=10) == 60 * shape.parameters
    assert operations(shape, LoRA(), tokens=10) == 40 * shape.parameters
    plain = Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)
    found = duration(shape, SFT(epochs=2), plain, rows=10, length=100, answer=10, rate=1e9)
    assert found.low == pytest.approx(4 * shape.parameters * 2000 / 1e9)
    assert found.high == pytest.approx(5 * found.low + 20)
    searched = duration(
        shape, SFT(epochs=2, search={"rank": (2, 8)}, trials=5), plain, rows=10, length=100, answer=10, rate=1e9
    )
    assert searched.low == pytest.approx(5 * found.low)


def test_evaluations_and_slower_methods_take_their_time() -> None:
    shape, plain = shape_of(SMOLLM), Machine(kind="cpu", name="CPU", free=1, total=1, disk=1, bfloat16=False)

    def seconds(recipe: SFT, dev: int = 0) -> float:
        return duration(shape, recipe, plain, rows=40, length=100, answer=10, rate=1e9, dev=dev).low

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
    found = duration(shape, recipe, plain, rows=8, length=100, answer=10, rate=1e9)
    trained = 4 * shape.parameters * 100 * 8 * 4 / 1e9
    drawn = 10 * 2 * shape.parameters * 8 * 4 / 1e9  # a token of every answer
    assert found.low == pytest.approx(trained + 10 * drawn)
    assert found.high == pytest.approx(5 * (trained + 50 * drawn) + 20)


def test_a_busy_machine_does_not_lower_the_rate_that_was_measured(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.estimates.speed._measure", lambda: 5e10)
    assert measured_rate() == 5e10
    monkeypatch.setattr("harness.estimates.speed._measure", lambda: 1e10)
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
