"""Any task of lm-eval as a task of an experiment: its documents, prompts, filters and metrics."""
