"""One row dataclass a table. JSON columns are Python values here and JSON text in the file."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from harness.types.codec import from_json
from harness.types.protocols import Direction
from harness.types.samples import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRow:
    TABLE: ClassVar[str] = "experiments"
    name: str
    question: str
    declaration: object
    criteria_key: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What is read again of the environment that a stage recorded; None if it did not.

    Attributes:
        dtype: Of the weights that answered.
        checks: What the stage checked; `check` if it is one alone.
        best_step: The step whose weights were kept.
        watched: The metric that chose it, if not the loss.
        suggested_rate: What the rate finder chose.
    """

    dtype: str | None = None
    checks: tuple[Check, ...] = ()
    check: Check | None = None
    best_step: int | None = None
    watched: str | None = None
    suggested_rate: float | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    TABLE: ClassVar[str] = "stages"
    key: str
    experiment: str
    kind: str
    system: str
    split: str | None
    seed: int
    started_at: datetime
    seconds: float
    tokens_in: int
    tokens_out: int
    environment: object
    artifact: str | None = None

    @property
    def facts(self) -> StageFacts:
        return from_json(StageFacts, self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentStageRow:
    TABLE: ClassVar[str] = "experiment_stages"
    experiment: str
    stage_key: str
    system: str
    kind: str
    split: str | None
    seed: int
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow:
    TABLE: ClassVar[str] = "systems"
    experiment: str
    system: str
    role: str
    model: str
    description: str
    chosen: bool
    price_in: float | None = None
    price_out: float | None = None
    retrieves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    TABLE: ClassVar[str] = "samples"
    experiment: str
    split: str
    sample_id: str
    position: int
    input: str
    reference: str
    expected: object
    cluster: str | None
    tags: object


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    TABLE: ClassVar[str] = "answers"
    stage_key: str
    sample_id: str
    repeat: int
    prompt: str
    text: str
    value: object
    tokens_in: int
    tokens_out: int
    seconds: float
    ended: str = "stop"
    reasoning: str = ""
    timed_in_batch: int | None = None
    lookup_seconds: float = 0.0
    retrieved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRow:
    """What a changed reader makes of one stored answer."""

    TABLE: ClassVar[str] = "revalued"
    sample_id: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodRow:
    TABLE: ClassVar[str] = "likelihoods"
    stage_key: str
    sample_id: str
    choice: str
    logprob: float
    tokens: int
    bytes: int
    greedy: bool
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRow:
    TABLE: ClassVar[str] = "measures"
    stage_key: str
    sample_id: str
    repeat: int
    score: float
    detail: object


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    TABLE: ClassVar[str] = "scores"
    stage_key: str
    sample_id: str
    repeat: int
    metric: str
    score: float | None
    error: str | None
    detail: object
    experiment: str
    system: str
    split: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLogRow:
    TABLE: ClassVar[str] = "training_log"
    stage_key: str
    step: int
    epoch: float
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    TABLE: ClassVar[str] = "comparisons"
    experiment: str
    metric: str
    split: str
    baseline: str
    tuned: str
    better: Direction
    baseline_mean: float | None
    tuned_mean: float | None
    tuned_low: float | None
    tuned_high: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    samples: int
    seeds: int
    method: str
    level: float = 0.95
    groups: int | None = None
    guard: bool = False
    always_valid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    TABLE: ClassVar[str] = "slices"
    experiment: str
    metric: str
    dimension: str
    value: str
    position: int
    samples: int
    baseline_mean: float | None
    tuned_mean: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    q_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightRow:
    TABLE: ClassVar[str] = "insights"
    experiment: str
    kind: str
    content: object


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinualRow:
    """One cell of the matrix of a recipe with tasks in a row: step 0 is the model before any training."""

    TABLE: ClassVar[str] = "continual"
    experiment: str
    system: str
    seed: int
    step: int
    step_name: str
    task: str
    metric: str
    score: float
    low: float | None
    high: float | None
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutRow:
    TABLE: ClassVar[str] = "holdouts"
    holdout_key: str
    sample_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMeanRow:
    TABLE: ClassVar[str] = "system_means"
    experiment: str
    system: str
    split: str
    metric: str
    better: Direction
    mean: float | None
    low: float | None
    high: float | None
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    TABLE: ClassVar[str] = "checks"
    experiment: str
    position: int
    name: str
    status: Literal["ok", "warning", "invalid"]
    detail: str
    items: object
    kind: Literal["data", "protocol", "readiness"] = "protocol"
    excused: bool = False

    @property
    def check(self) -> Check:
        items = tuple(self.items) if isinstance(self.items, list | tuple) else ()
        return Check(
            name=self.name, status=self.status, detail=self.detail, items=items, kind=self.kind, excused=self.excused
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    TABLE: ClassVar[str] = "decisions"
    experiment: str
    decided_at: datetime
    verdict: str
    reason: str
    findings: object
    criteria_key: str
    post_hoc: bool
    known_negative: bool
    statistics: int = 1
    about: object = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRow:
    TABLE: ClassVar[str] = "looks"
    holdout_key: str
    experiment: str
    system: str
    stage_key: str
    criteria_key: str
    looked_at: datetime
    candidate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the store holds about one experiment's current declaration: what the report draws.

    answers, likelihoods and scores are those of the stages named in `stages`; `decision` is the latest.
    """

    experiment: ExperimentRow
    decision: DecisionRow
    decisions: tuple[DecisionRow, ...]
    systems: tuple[SystemRow, ...]
    stages: tuple[StageRow, ...]
    memberships: tuple[ExperimentStageRow, ...]
    samples: tuple[SampleRow, ...]
    answers: tuple[AnswerRow, ...]
    scores: tuple[ScoreRow, ...]
    training_log: tuple[TrainingLogRow, ...]
    comparisons: tuple[ComparisonRow, ...]
    system_means: tuple[SystemMeanRow, ...]
    checks: tuple[CheckRow, ...]
    looks: tuple[LookRow, ...]
    slices: tuple[SliceRow, ...] = ()
    insights: tuple[InsightRow, ...] = ()
