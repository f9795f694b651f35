"""Answers and log-likelihoods: local models, OpenAI-compatible servers, vLLM, and a scripted engine for tests."""
