"""Agents to begin with, so that nobody faces an empty form.

Called by ``manage.py install_starters``, the demo and tests.
"""

from agents.starters.install import install
from agents.starters.sandbox import install_sandbox

__all__ = ["install", "install_sandbox"]
