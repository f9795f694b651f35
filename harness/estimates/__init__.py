"""What a run will take, before anything runs: memory, time and disk."""
