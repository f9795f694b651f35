"""Other people's tuners, each a subprocess in an environment of its own: files in, an adapter out."""
