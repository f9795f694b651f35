"""`harness doctor`: is the installation sound?"""

import argparse

from harness.commands.adding import add_command
from harness.commands.stores import say


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    add_command(commands, "doctor", _doctor, "check the installation", "harness doctor")


def _doctor(_: argparse.Namespace) -> int:
    from harness.doctor import examine

    healthy = True
    for finding in examine():
        healthy = healthy and finding.healthy
        say(f"{'ok ' if finding.healthy else 'BAD'}  {finding.text}")
    return 0 if healthy else 1
