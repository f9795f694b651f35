"""Carries a plan out: answers, training, scores, the holdout, checks and the verdict, stored as they are made."""
