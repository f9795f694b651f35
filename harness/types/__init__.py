"""What every part speaks in: samples, models, protocols, jobs, and the files of models."""
