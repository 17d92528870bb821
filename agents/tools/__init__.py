"""What an agent's model may call. Each module declares one tool; importing the package registers them all."""

from agents.tools import end_call, opt_out, press_keys, transfer_call

__all__ = ["end_call", "opt_out", "press_keys", "transfer_call"]
