"""The key of what a metric that runs a model depends on."""

from pathlib import Path

from harness.metrics.model_based import BERTScore, HFMetric


def test_an_edited_script_changes_the_key_and_a_copy_does_not(tmp_path: Path):
    script = tmp_path / "overlap.py"
    script.write_text("one")
    first = HFMetric(str(script)).content_key
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "overlap.py").write_text("one")
    assert HFMetric(str(tmp_path / "copy" / "overlap.py")).content_key == first
    script.write_text("two")
    assert HFMetric(str(script)).content_key != first


def test_an_edited_encoder_folder_changes_the_key(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    keys = {BERTScore(model=str(tmp_path)).content_key, BERTScore().content_key}
    (tmp_path / "config.json").write_text('{"a": 1}')
    keys.add(BERTScore(model=str(tmp_path)).content_key)
    assert len(keys) == 3
    assert BERTScore().content_key == BERTScore().content_key


def test_a_hub_name_counts_by_its_name():
    assert HFMetric("no_such_metric_here").content_key != HFMetric("no_such_metric_there").content_key
