"""Decide whether to fine-tune a language model."""
