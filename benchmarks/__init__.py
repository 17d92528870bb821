"""Measurements of Parley: run as modules from the repository's root."""

import os

# As ``config.server`` does, and for its reason; read when numpy is first imported, which every measurement does later.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
