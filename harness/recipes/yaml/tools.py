"""The tuners whose settings can be read and written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.errors import InvalidExperiment
from harness.recipes.sft import SFT
from harness.recipes.yaml import axolotl, llamafactory, unsloth
from harness.recipes.yaml.mapping import Exported, Imported


@dataclass(frozen=True, slots=True)
class Tool:
    """How one tuner's settings are written and read. model: the key that names the model there.

    Args:
        data: Settings that the user has still to give, with a word on each.
    """

    shown: str
    model: str
    data: Mapping[str, str]
    to_config: Callable[[SFT], Exported]
    from_config: Callable[[Mapping[str, object]], Imported]


TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "llamafactory": Tool(
            "LLaMA-Factory",
            "model_name_or_path",
            {"dataset": "a name in dataset_info.json", "eval_dataset": "another one", "output_dir": "a folder"},
            llamafactory.to_config,
            llamafactory.from_config,
        ),
        "axolotl": Tool(
            "Axolotl",
            "base_model",
            {"datasets": "path and type", "test_datasets": "path and type", "output_dir": "a folder"},
            axolotl.to_config,
            axolotl.from_config,
        ),
        "unsloth": Tool(
            "Unsloth",
            "model",
            {"data": "dataset or local_dataset", "training.output_dir": "a folder"},
            unsloth.to_config,
            unsloth.from_config,
        ),
    }
)


def recognise(config: Mapping[str, object]) -> Tool:
    """Return the tool whose settings these are, by keys that it alone has.

    Raises:
        InvalidExperiment: If no tool, or none alone, is known by them.
    """
    if isinstance(config.get("training"), Mapping) or isinstance(config.get("lora"), Mapping):
        return TOOLS["unsloth"]
    if {"stage", "finetuning_type", "model_name_or_path"} & set(config):
        return TOOLS["llamafactory"]
    if {"base_model", "micro_batch_size", "datasets"} & set(config):
        return TOOLS["axolotl"]
    raise InvalidExperiment(
        "these are the settings of no known tuner: LLaMA-Factory has stage and finetuning_type, Axolotl base_model and "
        "micro_batch_size, Unsloth the sections training and lora; name it with --from"
    )
