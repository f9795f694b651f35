"""`harness tuner install`: an environment of its own for each tuner that a recipe may name as its backend.

`harness vllm install`: vLLM in an environment of its own.
"""

import argparse

from harness.cli.options import add_command, say

_TUNERS = ("llamafactory", "axolotl", "unsloth")


def add_tuner(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "tuner",
        _tuner,
        "install another tuner in an environment of its own, for SFT(..., backend=NAME)",
        "harness tuner install llamafactory",
    )
    parser.add_argument("action", choices=("install",))
    parser.add_argument("name", choices=_TUNERS)


def _tuner(options: argparse.Namespace) -> int:
    from harness.environments import install_tuner

    install_tuner(options.name, say=say)
    return 0


def add_vllm(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "vllm",
        _vllm,
        "install vLLM in an environment of its own, for Model(..., engine='vllm')",
        "harness vllm install",
    )
    parser.add_argument("action", choices=("install",))
    parser.add_argument("--build", choices=("cpu", "cuda"), help="without it, cuda where an NVIDIA driver runs")


def _vllm(options: argparse.Namespace) -> int:
    from harness.environments import install_vllm

    install_vllm(options.build, say=say)
    return 0
