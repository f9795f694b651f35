"""Answers of OpenAI-compatible servers: requests side by side, retries, replies in each form that servers give."""
