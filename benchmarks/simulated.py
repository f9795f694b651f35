"""The table of simulated shares: printed, kept in docs/measurements/simulations.json, and put into statistics.md."""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

KEPT, PAGE = Path("docs/measurements/simulations.json"), Path("docs/measurements/statistics.md")
_BEGIN, _END = "<!-- simulations: begin -->", "<!-- simulations: end -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One share over `runs` drawn experiments, and the range it must lie in up to three Monte Carlo errors."""

    what: str
    setting: str
    share: float
    runs: int
    least: float = 0.0
    most: float = 1.0
    note: str = ""

    @property
    def error(self) -> float:
        return math.sqrt(max(self.share * (1 - self.share), 0.25 / self.runs) / self.runs)

    @property
    def met(self) -> bool:
        return self.least - 3 * self.error <= self.share <= self.most + 3 * self.error

    @property
    def line(self) -> str:
        least = f"at least {self.least:.1%}" if self.least else ""
        most = f"at most {self.most:.1%}" if self.most < 1 else ""
        target = " and ".join(part for part in (least, most) if part) or "shown"
        found = f"{self.share:.1%} ± {1.96 * self.error:.1%}".replace("%", " %")
        verdict = "" if target == "shown" else "yes" if self.met else "NO"
        return f"| {self.what} | {self.setting} | {found} | {target.replace('%', ' %')} | {verdict} | {self.runs:,} |"


def keep(rows: Iterable[Row], *, dry: bool) -> None:
    """Print the rows and, unless `dry`, keep them and put the table into the page."""
    found = []
    for row in rows:
        found.append(row)
        sys.stdout.write(f"{row.line}\n")
        sys.stdout.flush()
    if not dry:
        kept = {"measured": f"{datetime.now(UTC):%Y-%m-%d}", "rows": [asdict(row) for row in found]}
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(f"{before}{_BEGIN}\n{table(found)}\n{_END}{after}", encoding="utf-8")


def table(found: list[Row]) -> str:
    head = "| share | of | found | must be | met | runs |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(row.line for row in found)])
