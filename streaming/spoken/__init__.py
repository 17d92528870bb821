"""Texts as a voice must be given them: "$12.50" as "twelve dollars and fifty cents", in the agent's language.

Voices read raw amounts, numbers, dates and addresses wrongly or each in its own way (the fast models above all).
``form`` is the door, used by ``streaming.voice`` and the phrase cache; no I/O and no state in here.
"""
