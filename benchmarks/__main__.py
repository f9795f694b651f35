"""`make bench`: the harness beside the reference packages; writes docs/measurements/benchmarks.md and its chart."""

import argparse
import sys
from importlib import import_module

from benchmarks.page import KEPT, PAGE, keep, line
from benchmarks.row import Row

# Each is a file of this folder with a function `rows()`; what a machine lacks is said and skipped.
SECTIONS = (
    "choices",
    "generation",
    "lm_eval_rows",
    "vllm",
    "llama_cpp",
    "training",
    "question",
    "bertscore",
    "store",
)
# A study measures no speed: it keeps a table of its own, with study(dry=...).
STUDIES = ("simulations",)


def main() -> int:
    """Measure the sections asked for, print their rows, write the page."""
    options = _options()
    for name in options.sections or (*SECTIONS, *STUDIES):
        if name in STUDIES:
            import_module(f"benchmarks.{name}").study(dry=options.dry)
            continue
        found: list[Row] = []
        for row in import_module(f"benchmarks.{name}").rows():
            found.append(row)
            sys.stdout.write(f"{line(row)}\n" + (f"  {row.note}\n" if row.note else ""))
            sys.stdout.flush()
        if found and not options.dry:
            keep(name, found)
    if not options.dry and set(options.sections or SECTIONS) & set(SECTIONS):
        sys.stdout.write(f"wrote {PAGE} from {KEPT}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="BENCH_SAMPLES=20 BENCH_REPEATS=1 python -m benchmarks choices --dry",
    )
    parser.add_argument(
        "sections",
        nargs="*",
        choices=[*SECTIONS, *STUDIES, []],
        help=f"which of {', '.join((*SECTIONS, *STUDIES))}; all",
    )
    parser.add_argument("--dry", action="store_true", help="print the rows and write nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
