"""What a training run will take before it starts: memory, time and disk, from a model's config and a recipe."""
