"""A local model that vLLM serves: an environment, a server on 127.0.0.1 and the engine that asks it."""
