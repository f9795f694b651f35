"""The page on other tuners: what a reader copies from it works."""

import re
import shlex
from pathlib import Path

import pytest

from harness.cli.__main__ import main
from harness.recipes import SFT

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "other-tuners.md"
_TEXT = _PAGE.read_text(encoding="utf-8")


def test_the_recipes_of_the_page_can_be_declared() -> None:
    for source in re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL):
        scope: dict[str, object] = {}
        exec(source, scope)
        assert isinstance(scope["recipe"], SFT)


def test_the_exports_and_imports_of_the_page_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [shlex.split(line)[1:] for line in re.findall(r"^harness recipe .*$", _TEXT, re.MULTILINE)]
    assert [command[1] for command in commands] == ["export", "export", "import"]
    experiment = Path(commands[0][2]).resolve()
    monkeypatch.chdir(tmp_path)
    for command in (["recipe", "export", str(experiment), *commands[0][3:]], *commands[1:]):
        assert main(command) == 0
        assert capsys.readouterr().out
