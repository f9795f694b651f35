"""The command `harness`: each `add_...` function declares one command, its help and an example."""
