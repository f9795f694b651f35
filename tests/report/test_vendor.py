"""The browser libraries are those that VENDOR.md names."""

import re
from importlib.resources import files

from harness.fingerprint import file_sha256
from harness.report.templates import CHART_LIBRARIES, asset, script_json

_ROW = re.compile(r"^\| (\S+\.js) \| \S+ \| [\d.]+ \| \S+ \| (\S+) \| ([0-9a-f]{64}) \|$", re.MULTILINE)


def test_every_vendored_file_has_its_checksum_and_licence() -> None:
    folder = files("harness.report").joinpath("vendor")
    rows = _ROW.findall(asset("vendor/VENDOR.md"))
    assert {f"vendor/{name}" for name, _, _ in rows} == set(CHART_LIBRARIES)
    for name, licence, checksum in rows:
        assert file_sha256(folder / name) == checksum  # type: ignore[arg-type]
        assert "opyright" in asset(f"vendor/{licence}")


def test_no_script_could_end_its_own_element() -> None:
    for name in (*CHART_LIBRARIES, "page.js", "charts.js", "theme.js"):
        text = asset(name).lower()
        assert "</script" not in text
        assert "<!--" not in text


def test_json_inside_a_script_cannot_leave_it() -> None:
    written = script_json({"text": "</script><!-- & \u2028"})
    assert written == '{"text":"\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028"}'
