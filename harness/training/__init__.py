"""Carrying recipes out: from a TuneJob to a tuned system on disk."""
