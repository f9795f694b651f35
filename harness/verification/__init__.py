"""A page recomputed from what it embeds, and stored systems compared that no experiment paired."""
