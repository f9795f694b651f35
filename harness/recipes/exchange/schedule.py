"""The settings of a run's course that LLaMA-Factory and Axolotl both hand on to transformers, each by its own keys."""

from dataclasses import dataclass

from harness.recipes.exchange.translation import TENTH, Config, Settings
from harness.recipes.sft import SFT

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant_with_warmup": "constant", "constant": "constant"}
FIELDS = (
    "epochs", "learning_rate", "batch_size", "micro_batch_size", "max_length", "warmup", "schedule", "weight_decay",
    "max_grad_norm", "patience", "evaluate_every",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A tool's keys, and its defaults where a setting is left out."""

    epochs: str
    micro: str
    schedule: str
    max_length: str
    patience: str
    usual_epochs: float
    usual_micro: int
    usual_schedule: str
    usual_length: int
    usual_warmup: float


def write_course(recipe: SFT, course: Course) -> Config:
    """Return the settings that let a run go as `recipe` says."""
    micro = recipe.micro_batch_size or recipe.batch_size
    every = recipe.evaluate_every or TENTH
    config: Config = {
        course.epochs: recipe.epochs,
        "learning_rate": recipe.rate,
        course.micro: micro,
        "gradient_accumulation_steps": recipe.batch_size // micro,
        course.schedule: "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "eval_steps": every,
        "save_steps": every,
        "load_best_model_at_end": True,
    }
    if recipe.patience is not None:
        config[course.patience] = recipe.patience
    if recipe.max_length is not None:
        config[course.max_length] = recipe.max_length
    return config


def read_course(settings: Settings, course: Course) -> Config:
    """Return the fields of a recipe whose run goes as `settings` say; a schedule that no recipe has is left over."""
    micro = settings.count(course.micro, course.usual_micro)
    batch = micro * settings.count("gradient_accumulation_steps", 1)
    schedule = settings.text(course.schedule, course.usual_schedule)
    if schedule not in _SCHEDULES:
        settings.put_back(course.schedule)
    return {
        "epochs": settings.number(course.epochs, course.usual_epochs),
        "learning_rate": settings.number("learning_rate", 5e-5),
        "batch_size": batch,
        "micro_batch_size": None if micro == batch else micro,
        "max_length": settings.count(course.max_length, course.usual_length),
        "warmup": 0.0 if schedule == "constant" else settings.number("warmup_ratio", course.usual_warmup),
        "schedule": _SCHEDULES.get(schedule, "cosine"),
        "weight_decay": settings.number("weight_decay", 0.0),
        "max_grad_norm": settings.number("max_grad_norm", 1.0),
        "patience": settings.count(course.patience, 1) if course.patience in settings else None,
        "evaluate_every": _steps_between(settings),
    }


def _steps_between(settings: Settings) -> int | None:
    """Return the steps between evaluations, None where it is the tenth of a run that is the default here."""
    saving = settings.value("save_steps")
    every = settings.number("eval_steps", TENTH)
    if saving not in (None, every):
        settings.put_back("save_steps")
    if every >= 1:
        return int(every)
    if every != TENTH:
        settings.put_back("eval_steps")
    return None
