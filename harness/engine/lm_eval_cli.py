"""lm-eval's own command line with our model in it: `python -m harness.engine.lm_eval_cli run --model harness ...`.

lm-eval 0.4.13 looks for models in a table of its own and asks no installed package, so the entry is made here first.
"""

import sys

from harness.errors import MissingPackage


def register() -> None:
    """Make `lm_eval.simple_evaluate(model="harness", model_args=...)` find the local engine.

    Raises MissingPackage where lm-eval is absent.
    """
    try:
        # Imported for what it does: lm-eval fills an empty table only, and ours alone would hide its own models.
        import lm_eval.models  # noqa: F401
        from lm_eval.api.registry import model_registry
    except ModuleNotFoundError as error:
        if error.name != "lm_eval":
            raise
        raise MissingPackage("the model of lm-eval needs the package lm-eval: pip install 'lm-eval>=0.4.13'") from error
    if "harness" not in model_registry:
        model_registry.register("harness", target="harness.engine.lm_eval_model:HarnessLM")


def main() -> None:
    """Run `lm_eval` with this process's arguments."""
    try:
        register()
    except MissingPackage as error:
        sys.exit(str(error))
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
