"""Adapters whose modules are the harness's own, hung into a transformers decoder that stays as it is."""
