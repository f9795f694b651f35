"""Carrying recipes out: one file a method family."""
