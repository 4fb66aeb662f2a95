import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from components.contract import BadInput
from components.serving.answers import Answerer, load_answerer
from components.serving.protocol import BadRequest, ChatRequest
from components.serving.server import make_app
from tests.small_agent import SmallAgent, small_agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> SmallAgent:
    return small_agent(tmp_path_factory.mktemp("agent"))


CALCULATOR = {
    "type": "function",
    "function": {"name": "calc", "description": "Compute.", "parameters": {"type": "object"}},
}


def answerer_of(agent: SmallAgent, *, describe_tools: bool = False) -> Answerer:
    folders = agent.checkpoint.path, agent.tokenizer.path
    return load_answerer(*folders, "tiny", describe_tools=describe_tools)


@pytest.fixture(scope="module")
def url(agent: SmallAgent) -> Iterator[str]:
    answerer = answerer_of(agent)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make_app(answerer), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=20)


def call(url: str, path: str, body: Any = None) -> tuple[int, str]:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        url + path, data=data, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def chat(url: str, **body: Any) -> dict[str, Any]:
    status, text = call(url, "/v1/chat/completions", {"model": "tiny", "temperature": 0, **body})
    assert status == 200, text
    return json.loads(text)


def events(url: str, **body: Any) -> list[dict[str, Any]]:
    full = {"model": "tiny", "temperature": 0, "stream": True, **body}
    status, text = call(url, "/v1/chat/completions", full)
    assert status == 200
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def asked() -> list[dict[str, Any]]:
    return [{"role": "user", "content": "3+1"}]


def test_models_and_health(url: str) -> None:
    assert json.loads(call(url, "/health")[1]) == {"status": "ok"}
    assert json.loads(call(url, "/v1/models")[1])["data"][0]["id"] == "tiny"


def test_a_question_is_answered_through_a_tool(url: str) -> None:
    first = chat(url, messages=asked())
    choice = first["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (made,) = choice["message"]["tool_calls"]
    assert made["function"]["name"] == "calc"
    assert json.loads(made["function"]["arguments"]) == {"e": "3+1"}
    result = {"role": "tool", "tool_call_id": made["id"], "content": "4"}
    second = chat(url, messages=[*asked(), choice["message"], result])
    assert second["choices"][0]["message"] == {"role": "assistant", "content": "4"}
    assert second["choices"][0]["finish_reason"] == "stop"
    usage = second["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == 2


def test_tools_stay_out_of_the_prompt_of_a_model_trained_without(url: str) -> None:
    bare, offered = chat(url, messages=asked()), chat(url, messages=asked(), tools=[CALCULATOR])
    assert offered["usage"] == bare["usage"]
    (made,) = offered["choices"][0]["message"]["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == {"e": "3+1"}


def test_tools_are_described_to_a_model_trained_so(agent: SmallAgent) -> None:
    # Their description alone is longer than this model's context.
    answerer = answerer_of(agent, describe_tools=True)
    body = {"messages": asked(), "tools": [CALCULATOR]}
    with pytest.raises(BadRequest) as refused:
        answerer.start(ChatRequest.model_validate(body))
    assert "leave out tools" in refused.value.message
    none = ChatRequest.model_validate(body | {"tool_choice": "none"})
    assert answerer.start(none).prompt_tokens < 20


def test_a_stream_says_the_same_in_pieces(url: str) -> None:
    made = events(url, messages=asked(), stream_options={"include_usage": True})
    assert made[0]["choices"][0]["delta"]["role"] == "assistant"
    calls = [
        piece["choices"][0]["delta"]["tool_calls"]
        for piece in made
        if piece["choices"] and "tool_calls" in piece["choices"][0]["delta"]
    ]
    assert json.loads(calls[0][0]["function"]["arguments"]) == {"e": "3+1"}
    assert made[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert made[-1]["usage"]["completion_tokens"] > 0

    whole = chat(url, messages=asked(), seed=3, temperature=1.5)["choices"][0]["message"]
    pieces = events(url, messages=asked(), seed=3, temperature=1.5)
    text = "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces)
    assert text.strip() == (whole["content"] or "")


def test_the_token_limit_ends_an_answer(url: str) -> None:
    made = chat(url, messages=asked(), max_tokens=3)
    assert made["choices"][0]["finish_reason"] == "length"
    assert made["choices"][0]["message"]["content"] == '<tool_call>{"'
    assert made["usage"]["completion_tokens"] == 3


def test_a_seed_repeats_an_answer(url: str) -> None:
    first, second = (
        chat(url, messages=asked(), temperature=2, seed=7, max_tokens=30) for _ in range(2)
    )
    assert first["choices"] == second["choices"] or first["choices"][0]["message"].get("tool_calls")


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "user or tool"),
        ({"messages": [{"role": "cat", "content": "x"}]}, 400, "messages.0.role"),
        ({"temperature": -1}, 400, "temperature"),
        ({"n": 2}, 400, "n:"),
        ({"model": "large"}, 404, "does not exist"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, 400, "context is 160"),
        ({"tools": [{"type": "function", "function": {}}]}, 400, "tools.0.function.name"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "calc", "arguments": "{"}}],
                    },
                    {"role": "tool", "content": "4"},
                ]
            },
            400,
            "no JSON object",
        ),
    ],
)
def test_bad_requests_name_the_field(
    url: str, change: dict[str, Any], status: int, says: str
) -> None:
    body = {"model": "tiny", "messages": asked(), **change}
    got, text = call(url, "/v1/chat/completions", body)
    assert got == status, text
    error = json.loads(text)["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_folder_without_a_model_is_refused(agent: SmallAgent, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"config\.json is missing"):
        load_answerer(tmp_path)
    with pytest.raises(BadInput, match=r"no tokenizer\.json"):
        load_answerer(agent.checkpoint.path)
