"""Decides what a chat request is answered: the scripted brain, a reply from the test's script, or a generated text.

The same request gets the same answer. Used by chat.py, which only puts it on the wire.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from sandbox import provider_wire
from sandbox.brain import Brain, arguments_text, blank, callers_words
from sandbox.brain_extract import fill_form
from sandbox.providers_state import ScriptedReply, Scripts

DEMO_MODEL = "demo-script"
DEFAULT_SCENARIO = "front_desk"
_WORDS = (
    "certainly", "the", "office", "can", "arrange", "that", "for", "you", "and", "we", "will", "send", "a", "short",
    "note", "with", "every", "detail", "before", "the", "visit", "so", "that", "nothing", "is", "left", "open",
    "while", "our", "team", "looks", "after", "the", "rest", "in", "good", "time",
)  # fmt: skip


@dataclass
class Answer:
    """One finished reply, before it is cut into tokens.

    Attributes:
        calls: (id, name, arguments as JSON text) of each tool call.
        tokens: the text in pieces.
        finish: stop, length, tool_calls or content_filter.
    """

    tokens: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish: str = "stop"
    prompt_tokens: int = 0
    fingerprint: str = "fp_sandbox"

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.tokens)

    @property
    def completion_tokens(self) -> int:
        """Tokens of text and tool calls, about as many as a model would count."""
        return len(self.tokens) + sum(2 + len(tokens_of(arguments)) for _, _, arguments in self.calls)


def tokens_of(text: str) -> list[str]:
    """Cut a text into pieces that join to it again: a word with the blank before it, or a run of signs."""
    return re.findall(r"\s*[\w']+|\s*[^\w\s]+|\s+$", text)


def answer(body: dict[str, Any], key: str, scripts: Scripts) -> Answer:
    """The reply to a checked request body."""
    if body["model"] == DEMO_MODEL:
        scenario = provider_wire.scenario_of(key) or DEFAULT_SCENARIO
        reply, fingerprint = _scripted_brain(body, scenario), f"fp_sandbox_scripted_{scenario}"
    elif scripts.replies:
        reply, fingerprint = scripts.replies.popleft(), "fp_sandbox_control"
    elif scripts.default_reply:
        reply, fingerprint = ScriptedReply(scripts.default_reply), "fp_sandbox_control"
    else:
        reply, fingerprint = _generated(body, scripts.reply_tokens), "fp_sandbox_generated"
    result = Answer(tokens_of(reply.text), _calls(reply, body), fingerprint=fingerprint)
    result.finish = reply.finish_reason or ("tool_calls" if result.calls else "stop")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and len(result.tokens) > limit:
        result.tokens, result.finish, result.calls = result.tokens[:limit], "length", []
    result.prompt_tokens = sum(3 + len(tokens_of(json.dumps(message))) for message in body["messages"])
    return result


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    form = body.get("response_format") or {}
    return form["json_schema"]["schema"] if form.get("type") == "json_schema" else None


def _scripted_brain(body: dict[str, Any], scenario: str) -> ScriptedReply:
    brain = Brain(scenario)
    schema = _schema(body)
    if schema is not None:
        return ScriptedReply(json.dumps(fill_form(brain, body["messages"], schema), ensure_ascii=False))
    tools = [] if body.get("tool_choice") == "none" else body.get("tools") or []
    reply = brain.reply(body["messages"], tools)
    calls = [{"name": reply.tool[0], "arguments": reply.tool[1]}] if reply.tool else []
    return ScriptedReply(reply.text, calls)


def _generated(body: dict[str, Any], count: int) -> ScriptedReply:
    """A text of `count` words that depends on the last message only."""
    schema = _schema(body)
    if schema is not None:
        return ScriptedReply(json.dumps(blank(schema)))
    choice = body.get("tool_choice")
    if choice == "required" or isinstance(choice, dict):
        name = choice["function"]["name"] if isinstance(choice, dict) else body["tools"][0]["function"]["name"]
        schema = next(tool["function"] for tool in body["tools"] if tool["function"]["name"] == name).get(
            "parameters", {}
        )
        return ScriptedReply("", [{"name": name, "arguments": blank({"type": "object", **schema})}])
    said = callers_words(body["messages"])
    seed = hashlib.sha256((said[-1] if said else "").encode()).digest()
    words = [_WORDS[(seed[0] + index) % len(_WORDS)] for index in range(count)]
    for index in range(0, count, 10):
        words[index] = words[index].capitalize()
    for index in range(9, count, 10):
        words[index] += "."
    return ScriptedReply(re.sub(r"\.?$", ".", " ".join(words)) if words else "")


def _calls(reply: ScriptedReply, body: dict[str, Any]) -> list[tuple[str, str, str]]:
    calls = []
    for index, call in enumerate(reply.tool_calls):
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else arguments_text(arguments)
        digest = hashlib.sha256(f"{len(body['messages'])}/{index}/{text}".encode()).hexdigest()[:24]
        calls.append((f"call_{digest}", str(call["name"]), text))
    return calls
