import json
from pathlib import Path

from harness.training.callbacks import fault, last_whole, recover, seal


def checkpoint(folder: Path, step: int, *, best: int | None = None) -> Path:
    made = folder / f"checkpoint-{step}"
    made.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (made / name).write_bytes(f"{name} {step}".encode() * 100)
    (made / "trainer_state.json").write_text(json.dumps({"global_step": step, "best_global_step": best}))
    seal(made)
    return made


def test_a_sealed_checkpoint_is_whole(tmp_path: Path) -> None:
    assert fault(checkpoint(tmp_path, 5)) is None


def test_each_kind_of_tear_is_named(tmp_path: Path) -> None:
    cut, flipped, gone, unfinished = (checkpoint(tmp_path, step) for step in (1, 2, 3, 4))
    (cut / "optimizer.pt").write_bytes(b"optimizer.pt")
    damaged = bytearray((flipped / "adapter_model.safetensors").read_bytes())
    damaged[7] ^= 1
    (flipped / "adapter_model.safetensors").write_bytes(damaged)
    (gone / "trainer_state.json").unlink()
    (unfinished / "seal.json").unlink()

    assert [fault(folder) for folder in (cut, flipped, gone, unfinished)] == [
        "optimizer.pt is damaged",
        "adapter_model.safetensors is damaged",
        "trainer_state.json is gone",
        "it was not finished",
    ]


def test_a_torn_checkpoint_is_stepped_over_and_deleted(tmp_path: Path) -> None:
    older, torn = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    (torn / "optimizer.pt").write_bytes(b"")

    found = recover(tmp_path)

    assert found.usable == older
    assert found.torn == ("checkpoint-10: optimizer.pt is damaged",)
    assert not torn.exists()


def test_a_checkpoint_whose_best_is_gone_is_no_use(tmp_path: Path) -> None:
    first, best = checkpoint(tmp_path, 2, best=2), checkpoint(tmp_path, 4, best=4)
    checkpoint(tmp_path, 6, best=4)
    (best / "scheduler.pt").unlink()

    found = recover(tmp_path)

    assert found.usable == first
    assert found.torn == ("checkpoint-4: scheduler.pt is gone", "checkpoint-6: its best checkpoint, of step 4, is gone")


def test_nothing_is_found_where_nothing_was_left(tmp_path: Path) -> None:
    assert recover(tmp_path / "absent").usable is None
    assert last_whole(tmp_path / "absent") is None
