"""Turns: what was said, by whom, what of it was heard, and how long each step took."""

from django.db import models

from calls.models.call import Call


class Turn(models.Model):
    """One turn. Every ``*_ms`` is an offset from the call's ``live_at``; latencies are differences of them.

    ``index`` tells the turns of a call apart and says in which order they were written. A turn that was written late,
    after an outage or beside a second stream, has a high one and still belongs where it began: ``ordering`` is time's.
    """

    class Role(models.TextChoices):
        CALLER = "caller", "Caller"
        AGENT = "agent", "Agent"
        TOOL = "tool", "Tool"

    TRANSFER_FAILED = "transfer_failed"  # kind of the turn that tells the agent why the caller is back

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="turns")
    index = models.PositiveIntegerField()
    role = models.CharField(max_length=10, choices=Role)
    kind = models.CharField(
        max_length=20,
        default="speech",
        help_text="speech, greeting, reprompt, filler, goodbye, apology, dtmf, typed, tool, transfer_failed",
    )
    text = models.TextField(blank=True, help_text="Transcribed (caller) or generated (agent).")
    heard = models.TextField(blank=True, help_text="Agent turns: what the caller heard of it.")
    interrupted = models.BooleanField(default=False)
    end_reason = models.CharField(max_length=40, blank=True, help_text="Why the turn ended.")
    data = models.JSONField(
        default=dict, blank=True, help_text="Tool arguments and result, digits, end-of-turn detail."
    )
    started_ms = models.PositiveIntegerField()
    ended_ms = models.PositiveIntegerField()
    # Of the reply (agent turns): the moments from the caller's last word to the first sound of the answer.
    speech_end_ms = models.PositiveIntegerField(null=True)
    decided_ms = models.PositiveIntegerField(null=True)
    stt_final_ms = models.PositiveIntegerField(null=True)
    llm_first_ms = models.PositiveIntegerField(null=True)
    tts_first_ms = models.PositiveIntegerField(null=True)
    first_sent_ms = models.PositiveIntegerField(null=True)
    first_heard_ms = models.PositiveIntegerField(null=True)
    interrupted_ms = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["call", "started_ms", "index"]
        constraints = [models.UniqueConstraint(fields=["call", "index"], name="turn_index_once_per_call")]

    def __str__(self) -> str:
        return f"{self.call_id}#{self.index} {self.role}"
