"""Proximal policy optimisation: estimates, losses, the value head, and the loop over them."""
