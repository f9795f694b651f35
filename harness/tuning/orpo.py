"""ORPO with TRL: the chosen answer's own loss, and its odds over the rejected one."""

from typing import Any

from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from harness.jobs import TuneJob, TuneResult
from harness.protocols import Progress
from harness.recipes import ORPO
from harness.tuning.course import Begun, Course, carry_out
from harness.tuning.dpo import no_map_bars, pair_course, pair_data, pair_settings
from harness.tuning.network import attend_fast
from harness.tuning.preferences import pairs_ready
from harness.tuning.unreferenced import UnreferencedRows


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Train `job.recipe` (an ORPO) on `job.pairs`, and return the system of the best loss on `job.dev_pairs`.

    Raises StageFailed as `harness.tuning.course.carry_out` does, and where there is no pair to learn from.
    """
    return carry_out(job, ORPO, _prepare, progress=progress)


def _prepare(begun: Begun) -> Course:
    pairs = pairs_ready(begun, reference=False)
    attend_fast(begun.network, begun.precision, longest=pairs.longest)
    with no_map_bars():
        trainer = OddsTrainer(
            precision=begun.precision,
            args=ORPOConfig(
                **pair_settings(begun, len(pairs.train)),
                beta=begun.recipe.beta,
                max_length=begun.longest,
                remove_unused_columns=False,
            ),
            **pair_data(begun, pairs),
        )
    return pair_course(begun, pairs, trainer)


class OddsTrainer(UnreferencedRows, ORPOTrainer):  # type: ignore[misc]
    """ORPOTrainer on ready pairs."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.use_dpo_data_collator = True  # else TRL warns at each evaluation of a collator that is not its own
