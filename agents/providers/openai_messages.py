"""From Parley's context to the body of a chat completion; no I/O.

``openai_llm`` sends what this makes. OpenAI itself gets fields that keep a phone call fast and private; any other
server that speaks the protocol gets only what every one of them takes, plus the account's own options.
"""

from typing import Any

from agents.providers.base import LlmRequest, Message, ProviderConfig, ToolDefinition
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind

# Set by Parley; an option of these names would break the protocol between adapter and provider.
_OURS = frozenset({"model", "messages", "stream", "tools", "response_format", "n", "api_key", "base_url"})
# Read by the adapter, not sent.
_ADAPTER = frozenset({"max_tokens_field", "include_usage"})


def chat_message(message: Message) -> dict[str, Any]:
    """One message in the provider's form."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


def chat_tool(tool: ToolDefinition) -> dict[str, Any]:
    """One tool in the provider's form."""
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def chat_body(config: ProviderConfig, request: LlmRequest) -> dict[str, Any]:
    """The whole request body.

    ``config.options`` are sent as they are and win over the defaults, except ``max_tokens_field`` ("max_tokens" or
    "max_completion_tokens": how the server calls its limit) and ``include_usage`` (false for a server that rejects
    ``stream_options``). Raises ProviderError (BAD_REQUEST) for an option that Parley sets itself.
    """
    if forbidden := sorted(_OURS & config.options.keys()):
        words = f"the option {forbidden[0]} cannot be set"
        raise make_error(ErrorKind.BAD_REQUEST, config, "llm", words)
    proper = config.provider == "openai"
    body: dict[str, Any] = {
        "model": config.model,
        "messages": [chat_message(message) for message in request.messages],
        "stream": True,
    }
    if config.options.get("include_usage", True):
        body["stream_options"] = {"include_usage": True}
        if proper:
            body["stream_options"]["include_obfuscation"] = False
    if request.tools:
        body["tools"] = [chat_tool(tool) for tool in request.tools]
    if request.json_schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": True, "schema": request.json_schema},
        }
    # Servers other than OpenAI's know the older name, and ignore one that they do not know: an endless reply.
    limit = str(config.options.get("max_tokens_field") or ("max_completion_tokens" if proper else "max_tokens"))
    body[limit] = request.max_tokens
    if proper:
        body["reasoning_effort"] = "none"
        body["store"] = False
        if request.cache_key:
            body["prompt_cache_key"] = request.cache_key
    body.update({name: value for name, value in config.options.items() if name not in _ADAPTER})
    return body


def estimated_tokens(text: str) -> int:
    """Tokens that a text takes, by the usual four characters to a token; for replies cut off before their count."""
    return (len(text) + 3) // 4
