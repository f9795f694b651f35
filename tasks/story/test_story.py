from harness import Split
from tasks.story import story


def test_the_story_is_english_prose_in_two_halves_that_share_nothing() -> None:
    task = story()
    dev, holdout = task.samples(Split.DEV), task.samples(Split.HOLDOUT)

    assert (len(dev), len(holdout)) == (20, 20)
    assert not {sample.input for sample in dev} & {sample.input for sample in holdout}
    assert all(600 < len(sample.input) <= 1200 for sample in (*dev, *holdout))
    assert "newspaper" in " ".join(sample.input for sample in dev)
