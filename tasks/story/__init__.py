"""General English text that no recipe learns: what a tuned model must not find more surprising than before.

A short story in the public domain, as the package reasoning-gym carries it; its first window is a title page.
"""

from harness.data.text_task import TextTask
from tasks.stored_rows import package_folder


def story(*, windows: int = 40) -> TextTask:
    """Return a guard's task: `windows` pieces of about 300 tokens, half of them for comparing recipes (DEV)."""
    file = package_folder("reasoning_gym") / "data" / "in_the_year_2889.txt"
    return TextTask("story", file, limit=windows, dev=0.5)
