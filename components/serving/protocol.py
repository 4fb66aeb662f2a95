"""The part of OpenAI's chat protocol that is served: requests checked at the door, answers as
dicts.

Fields a client may send but that mean nothing here (`user`, `top_p`, `presence_penalty` and others)
are ignored; those that would change the answer in a way this server cannot deliver are refused.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from components.agents.conversation import Conversation, Message, ToolCall


class BadRequest(Exception):
    """Report a request the client must change: `message` says how, `param` names the field."""

    def __init__(
        self, message: str, *, param: str = "", status: int = 400, code: str = "invalid_value"
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.status, self.code = message, param, status, code


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="ignore")


class CalledFunction(_Tolerant):
    """Hold a call as clients send it back: arguments are JSON text."""

    name: str
    arguments: str


class SentCall(_Tolerant):
    """Hold one call of an earlier assistant turn."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class TextPart(_Tolerant):
    """Hold one piece of a message given in parts; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(_Tolerant):
    """Hold one message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[SentCall] = Field(default_factory=list[SentCall])

    @property
    def text(self) -> str:
        """Content as one string."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class FunctionDescription(_Tolerant):
    """Describe a function; parameters are a JSON schema."""

    name: str = Field(min_length=1)
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class Tool(_Tolerant):
    """Offer one function to the model."""

    type: Literal["function"]
    function: FunctionDescription


class StreamOptions(_Tolerant):
    """Say what a stream ends with."""

    include_usage: bool = False


class ChatRequest(_Tolerant):
    """Hold the body of POST /v1/chat/completions."""

    model: str = ""
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none"] = "auto"
    temperature: float = Field(default=1.0, ge=0, le=2)
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    n: Literal[1] = 1
    seed: int | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> ChatRequest:
        if self.messages[-1].role not in ("user", "tool"):
            raise ValueError("the last message must be of role user or tool")
        return self

    @property
    def token_limit(self) -> int | None:
        """Tokens the answer may have; None leaves it to the context."""
        return self.max_completion_tokens or self.max_tokens

    def conversation(self, *, describe_tools: bool = True) -> Conversation:
        """Return the conversation in our own form, without tools where the model was trained so.

        Raises BadRequest for arguments that are no JSON.
        """
        tools = None
        if describe_tools and self.tools and self.tool_choice != "none":
            # As sent, not re-modelled: the schema's own field order is part of the prompt.
            tools = [tool.model_dump() for tool in self.tools]
        return Conversation(tuple(_message(message) for message in self.messages), tools=tools)


def _message(sent: ChatMessage) -> Message:
    role = "system" if sent.role == "developer" else sent.role
    return Message(
        role,
        sent.text,
        reasoning=sent.reasoning_content or "",
        tool_calls=tuple(_call(call) for call in sent.tool_calls),
    )


def _call(sent: SentCall) -> ToolCall:
    try:
        arguments = json.loads(sent.function.arguments)
    except json.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(
            f"arguments of the call to {sent.function.name!r} are no JSON object",
            param="messages.tool_calls.function.arguments",
        )
    return ToolCall(sent.function.name, arguments)


def call_to_json(call: ToolCall, index: int, completion: str) -> dict[str, Any]:
    """Return a call as clients expect it, with an id that is unique in the completion."""
    return {
        "id": f"call_{completion}_{index}",
        "type": "function",
        "function": {
            "name": call.name,
            "arguments": json.dumps(call.arguments, ensure_ascii=False),
        },
    }


def error_body(message: str, *, param: str = "", code: str = "invalid_value") -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": param or None,
            "code": code,
        }
    }
