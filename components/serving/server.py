"""Serve a model under OpenAI's chat protocol: /v1/models and /v1/chat/completions.

There is no login: the server listens on the loopback address unless told otherwise, and whoever
opens it further puts a proxy in front.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from components.serving.answers import Answer, Answerer, load_answerer
from components.serving.protocol import BadRequest, ChatRequest, call_to_json, error_body


def serve(
    folder: Path,
    *,
    tokenizer: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: str = "",
    describe_tools: bool = True,
) -> None:
    """Serve a released folder, or a checkpoint with its tokenizer's folder, until interrupted.

    `describe_tools` holds for a folder that does not say itself how the model was trained.
    Raises BadInput where the folder holds no model.
    """
    app = make_app(load_answerer(folder, tokenizer, name, describe_tools=describe_tools))
    uvicorn.run(app, host=host, port=port, log_level="warning")


def make_app(answerer: Answerer) -> FastAPI:
    """Return the ASGI application around a loaded model."""
    app = FastAPI(title="Strata", docs_url=None, redoc_url=None)
    created = int(time.time())

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequest)
        body = error_body(error.message, param=error.param, code=error.code)
        return JSONResponse(body, status_code=error.status)

    async def refuse_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            why = f"the body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
            return JSONResponse(error_body(why, code="invalid_json"), status_code=400)
        param = ".".join(str(part) for part in first["loc"] if part != "body")
        reason = str(first["msg"]).removeprefix("Value error, ")
        message = f"{param}: {reason}" if param else reason
        return JSONResponse(error_body(message, param=param), status_code=400)

    app.add_exception_handler(BadRequest, refuse)
    app.add_exception_handler(RequestValidationError, refuse_invalid)

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def models() -> dict[str, Any]:
        model = {"id": answerer.name, "object": "model", "created": created, "owned_by": "strata"}
        return {"object": "list", "data": [model]}

    async def completions(request: ChatRequest) -> Response:
        answer = answerer.start(request)
        head = {
            "id": f"chatcmpl-{secrets.token_hex(8)}",
            "created": int(time.time()),
            "model": answerer.name,
        }
        if request.stream:
            usage = request.stream_options.include_usage
            return StreamingResponse(_events(answer, head, usage), media_type="text/event-stream")
        return JSONResponse(await run_in_threadpool(_completion, answer, head))

    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/v1/models", models, methods=["GET"])
    app.add_api_route("/v1/chat/completions", completions, methods=["POST"], response_model=None)
    return app


def _completion(answer: Answer, head: dict[str, Any]) -> dict[str, Any]:
    texts = {"content": "", "reasoning_content": ""}
    for part, text in answer:
        texts[part] += text
    calls = _calls(answer, head["id"])
    message: dict[str, Any] = {"role": "assistant", "content": texts["content"].strip() or None}
    if calls:
        message["tool_calls"] = calls
    else:
        message["content"] = texts["content"].strip()
    if texts["reasoning_content"]:
        message["reasoning_content"] = texts["reasoning_content"].strip()
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {
        **head,
        "object": "chat.completion",
        "choices": [choice],
        "usage": _usage(answer),
    }


async def _events(answer: Answer, head: dict[str, Any], usage: bool) -> AsyncIterator[str]:
    """Yield server-sent events; generation stops when the client goes away."""
    try:
        async for chunk in iterate_in_threadpool(_chunks(answer, head, usage)):
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        answer.cancel()


def _chunks(answer: Answer, head: dict[str, Any], usage: bool) -> Iterator[dict[str, Any]]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for part, text in answer:
        yield chunk({part: text})
    calls = _calls(answer, head["id"])
    if calls:
        indexed = [{"index": index, **call} for index, call in enumerate(calls)]
        yield chunk({"tool_calls": indexed})
    yield chunk({}, answer.finish_reason)
    if usage:
        yield {
            **head,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": _usage(answer),
        }


def _calls(answer: Answer, completion: str) -> list[dict[str, Any]]:
    suffix = completion.removeprefix("chatcmpl-")
    return [call_to_json(call, index, suffix) for index, call in enumerate(answer.reader.calls)]


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
