"""From files and hub data sets to samples: reading, columns and conversations, splits, checks, leakage."""
