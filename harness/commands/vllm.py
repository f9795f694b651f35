"""`harness vllm install`: vLLM in an environment of its own."""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    from harness.engine.vllm_environment import install

    install(options.build, say=say)
    return 0
