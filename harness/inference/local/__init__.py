"""The local engine: continuous batching over a kv cache with shared prefixes, and packed log-likelihoods."""
