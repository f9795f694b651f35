"""Commands of `harness` that are more than a few lines, one file each: `add(commands)` declares one."""
