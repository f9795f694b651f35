"""Carrying recipes out: one file a method family."""

import logging

# It warns about an optional kernel that nothing here uses, whoever imports it first.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
