"""Adapters that PEFT does not carry: modules of our own, in forward hooks of a decoder that stays as it is."""
