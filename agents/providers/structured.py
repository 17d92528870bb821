"""One JSON object from a language model: for the post-call tasks, which fill summaries and extraction fields.

Uses the same adapters and clocks as the live call, with ``LlmRequest.json_schema`` set.
"""

import json
import re
from typing import Any

from agents.providers.base import LanguageModel, LlmDone, LlmRequest, TextDelta, UsageReport
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind

# Servers without structured output wrap JSON in a Markdown fence.
_FENCE = re.compile(r"^```[a-z]*\s*(.*?)\s*```$", re.DOTALL)


async def complete_json(model: LanguageModel, request: LlmRequest) -> tuple[dict[str, Any], UsageReport]:
    """The model's reply as a JSON object, and what it cost.

    Raises ProviderError: CONTENT_FILTER when the provider declined, GARBAGE when the reply was cut off or is no JSON
    object; the schema's own rules (required names, choices) are the caller's to check.
    """
    text, reason = "", ""
    async with model.stream(request) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, LlmDone):
                reason = event.reason
        usage = events.usage()
    if reason == "content_filter":
        raise make_error(ErrorKind.CONTENT_FILTER, model.config, "llm", "the content filter stopped the reply")
    if reason == "length":
        raise make_error(ErrorKind.GARBAGE, model.config, "llm", f"cut off after {request.max_tokens} tokens")
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    try:
        value = json.loads(fenced.group(1) if fenced else stripped)
    except ValueError:
        raise make_error(ErrorKind.GARBAGE, model.config, "llm", "the reply is not JSON") from None
    if not isinstance(value, dict):
        raise make_error(ErrorKind.GARBAGE, model.config, "llm", "the reply is JSON but not an object")
    return value, usage
