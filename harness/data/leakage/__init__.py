"""Whether the holdout measures what was learned or what was copied: equal and near-duplicate samples across splits."""
