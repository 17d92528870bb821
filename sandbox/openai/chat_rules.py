"""What the Chat Completions API refuses, and in which words. Used by chat.py before it answers."""

from __future__ import annotations

import re
from typing import Any

from sandbox.openai.errors import OpenAIError, invalid, missing, unknown
from sandbox.openai.models import Model, require

_FIELDS = frozenset(
    {
        "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
        "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
        "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
        "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
        "web_search_options",
    }
)  # fmt: skip
_ROLES = ("system", "developer", "assistant", "user", "tool", "function")
_CHOICES: dict[str, tuple[str, ...]] = {
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": ("low", "medium", "high"),
    "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
}
_NUMBERS = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check(body: Any) -> Model:
    """Return the model of a valid request. Raises OpenAIError as the service would answer."""
    if not isinstance(body, dict):
        message = "We could not parse the JSON body of your request. The API expects a JSON payload."
        raise OpenAIError(400, message)
    for name in body:
        if name not in _FIELDS:
            raise unknown(name)
    if not isinstance(body.get("model"), str) or not body["model"]:
        message = "you must provide a model parameter"
        raise OpenAIError(400, message)
    model = require(body["model"], "chat")
    _check_messages(body)
    _check_values(body, model)
    _check_tools(body, model)
    _check_format(body.get("response_format"))
    return model


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list):
        raise invalid("messages", "Invalid type for 'messages': expected an array of objects.", "invalid_type")
    if not messages:
        text = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise invalid("messages", text, "empty_array")
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role is None:
            raise missing(f"{where}.role")
        if role not in _ROLES:
            supported = ", ".join(f"'{name}'" for name in _ROLES)
            raise invalid(f"{where}.role", f"Invalid value: '{role}'. Supported values are: {supported}.")
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                text = "Invalid parameter: messages with role 'tool' must answer a preceding message with 'tool_calls'."
                raise OpenAIError(400, text, param=f"{where}.role")
            waiting.discard(message["tool_call_id"])
        elif waiting:
            raise _unanswered(waiting, where)
        _check_content(message, where)
        waiting |= {call.get("id", "") for call in message.get("tool_calls") or ()}
    if waiting:
        raise _unanswered(waiting, "messages")


def _unanswered(waiting: set[str], where: str) -> OpenAIError:
    text = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}"
    )
    return OpenAIError(400, text, param=where)


def _check_content(message: dict[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None and not (
        message["role"] == "assistant" and (message.get("tool_calls") or message.get("refusal"))
    ):
        text = "Invalid value for 'content': expected a string, got null."
        raise OpenAIError(400, text, param=f"{where}.content")
    if content is not None and not isinstance(content, str | list):
        text = f"Invalid type for '{where}.content': expected one of a string or array of objects."
        raise invalid(f"{where}.content", text, "invalid_type")
    if message.get("tool_calls") == []:
        text = f"Invalid '{where}.tool_calls': empty array. Expected an array with minimum length 1."
        raise invalid(f"{where}.tool_calls", text, "empty_array")


def _check_values(body: dict[str, Any], model: Model) -> None:
    for name, supported in _CHOICES.items():
        if body.get(name) is not None and body[name] not in supported:
            shown = ", ".join(f"'{value}'" for value in supported)
            raise invalid(name, f"Invalid value: '{body[name]}'. Supported values are: {shown}.")
    for name, (low, high) in _NUMBERS.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or not low <= value <= high):
            raise invalid(
                name, f"Invalid '{name}': expected a value between {low} and {high}, but got {value} instead."
            )
    if body.get("n") not in (None, 1):
        raise invalid("n", "The sandbox gives one choice only: 'n' must be 1.")
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and (not isinstance(body[name], int) or body[name] < 1):
            raise invalid(
                name,
                f"Invalid '{name}': integer below minimum value. Expected a value >= 1.",
                "integer_below_min_value",
            )
    if body.get("stream_options") is not None and not body.get("stream"):
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise OpenAIError(400, text, param="stream_options")
    for name in body.get("stream_options") or {}:
        if name not in ("include_usage", "include_obfuscation"):
            raise unknown(f"stream_options.{name}")
    if model.reasons:
        _check_reasoning(body)


def _check_reasoning(body: dict[str, Any]) -> None:
    if "max_tokens" in body:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise invalid("max_tokens", text, "unsupported_parameter")
    effort = body.get("reasoning_effort") or "medium"
    if effort != "none" and body.get("temperature") not in (None, 1):
        text = (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. "
            "Only the default (1) value is supported."
        )
        raise invalid("temperature", text, "unsupported_value")


def _check_tools(body: dict[str, Any], model: Model) -> None:
    tools = body.get("tools")
    for name in ("tool_choice", "parallel_tool_calls"):
        if not tools and body.get(name) not in (None, "none"):
            text = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            raise OpenAIError(400, text, param=name)
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        raise invalid("tools", "Invalid 'tools': empty array. Expected an array with minimum length 1.", "empty_array")
    for index, tool in enumerate(tools):
        _check_tool(tool, f"tools[{index}]")
    if model.id == "gpt-6-luna" and (body.get("reasoning_effort") or "medium") != "none":
        text = "Function tools with this model in Chat Completions need 'reasoning_effort' to be 'none'."
        raise invalid("reasoning_effort", text, "unsupported_value")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted = choice.get("function", {}).get("name")
        if wanted not in [tool["function"]["name"] for tool in tools]:
            raise invalid("tool_choice", f"Tool choice 'function' not found in 'tools' parameter: {wanted}.")
    elif choice not in (None, "none", "auto", "required"):
        raise invalid(
            "tool_choice", f"Invalid value: '{choice}'. Supported values are: 'none', 'auto', and 'required'."
        )


def _check_tool(tool: Any, where: str) -> None:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise invalid(f"{where}.type", "Invalid value for a tool's type. Supported values are: 'function'.")
    function = tool.get("function")
    if not isinstance(function, dict):
        raise missing(f"{where}.function")
    name = function.get("name")
    if not name:
        raise missing(f"{where}.function.name")
    if not _NAME.fullmatch(name):
        text = f"Invalid '{where}.function.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise invalid(f"{where}.function.name", text)
    parameters = function.get("parameters", {"type": "object"})
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        text = f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"'."
        raise OpenAIError(400, text, param=f"{where}.function.parameters", code="invalid_function_parameters")
    if function.get("strict"):
        check_strict(parameters, f"function '{name}'", f"{where}.function.parameters", "invalid_function_parameters")


def _check_format(form: Any) -> None:
    if form is None:
        return
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        shown = "'text', 'json_object', and 'json_schema'"
        raise invalid("response_format.type", f"Invalid value: '{kind}'. Supported values are: {shown}.")
    if kind != "json_schema":
        return
    inner = form.get("json_schema")
    if not isinstance(inner, dict):
        raise missing("response_format.json_schema")
    name = inner.get("name")
    if not name:
        raise missing("response_format.json_schema.name")
    if not _NAME.fullmatch(name):
        text = "Invalid 'response_format.json_schema.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
        raise invalid("response_format.json_schema.name", text)
    schema = inner.get("schema")
    if not isinstance(schema, dict):
        raise missing("response_format.json_schema.schema")
    if schema.get("type") != "object":
        text = f"Invalid schema for response_format '{name}': schema must be a JSON Schema of 'type: \"object\"'."
        raise OpenAIError(400, text, param="response_format")
    if inner.get("strict"):
        check_strict(schema, f"response_format '{name}'", "response_format", None)


def check_strict(schema: Any, what: str, param: str, code: str | None, context: tuple[str, ...] = ()) -> None:
    """The rules of strict schemas: closed objects, every property required. Raises OpenAIError."""
    if not isinstance(schema, dict):
        return
    place = f"Invalid schema for {what}: In context={context!r},"
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            text = f"{place} 'additionalProperties' is required to be supplied and to be false."
            raise OpenAIError(400, text, param=param, code=code)
        absent = [name for name in properties if name not in schema.get("required", ())]
        if absent:
            text = (
                f"{place} 'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{absent[0]}'."
            )
            raise OpenAIError(400, text, param=param, code=code)
        for name, part in properties.items():
            check_strict(part, what, param, code, (*context, "properties", name))
    for union in ("anyOf", "oneOf"):
        for index, part in enumerate(schema.get(union, ())):
            check_strict(part, what, param, code, (*context, union, str(index)))
    check_strict(schema.get("items"), what, param, code, (*context, "items"))
    for name, part in schema.get("$defs", {}).items():
        check_strict(part, what, param, code, (*context, "$defs", name))
