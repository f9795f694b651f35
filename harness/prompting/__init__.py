"""How a model is prompted: zero-shot, few-shot and retrieval."""

from harness.prompting.few_shot import FewShot
from harness.prompting.rag import RAG
from harness.prompting.zero_shot import ZeroShot

__all__ = ["RAG", "FewShot", "ZeroShot"]
