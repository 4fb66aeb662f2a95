"""Generate answers with one model: one request at a time, each in a thread of its own.

Requests queue at a lock: the engine keeps a processor busy with one row already, and a release is
served for trying out. Left out: batching across requests, top-p, log-probabilities.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.agents.conversation import END_CALL, END_OF_TEXT, encode_prompt
from components.agents.inference import LockStepEngine, Row, Sampling
from components.contract import BadInput
from components.model.transformer import YoutuModel
from components.model.weights import load_model, read_strata
from components.serving.protocol import BadRequest, ChatRequest
from components.serving.turn_reader import Part, TurnReader
from components.tokenizer.contract import TextTokenizer, load_tokenizer


@dataclass
class _StreamedRow(Row):
    """Put each sampled token into a queue as it comes."""

    tokens: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue["int | None"])

    def take(self, token: int, logprob: float) -> None:
        super().take(token, logprob)
        self.tokens.put(token)


@dataclass
class Answer:
    """Follow one answer: iterate for pieces of text; `reader` holds the calls afterwards."""

    row: _StreamedRow
    reader: TurnReader
    prompt_tokens: int
    completion_tokens: int = 0

    def __iter__(self) -> Iterator[tuple[Part, str]]:
        """Yield text as it becomes final."""
        while (token := self.row.tokens.get()) is not None:
            self.completion_tokens += 1
            yield from self.reader.feed(token)
        if not self.reader.ended:
            yield from self.reader.close()

    def cancel(self) -> None:
        """Stop generating: the client has gone."""
        self.row.finished = True

    @property
    def finish_reason(self) -> str:
        """Say why the answer ended, in OpenAI's words."""
        if self.reader.calls:
            return "tool_calls"
        last = self.row.ids[-1]
        ends = {self.reader.tokenizer.special[name] for name in (END_OF_TEXT, END_CALL)}
        return "stop" if last in ends else "length"


class Answerer:
    """Hold a loaded model; safe to call from several threads.

    Without `describe_tools` a request's tools stay out of the prompt: the model was trained
    without descriptions and knows its tools by heart.
    """

    def __init__(
        self, model: YoutuModel, tokenizer: TextTokenizer, name: str, *, describe_tools: bool
    ) -> None:
        self.name = name
        self.describe_tools = describe_tools
        self.tokenizer = tokenizer
        self.context = model.config.max_positions
        self._engine = LockStepEngine(model, tokenizer, max_rows=1)
        self._lock = threading.Lock()
        self._stop = frozenset(tokenizer.special[token] for token in (END_CALL, END_OF_TEXT))

    def start(self, request: ChatRequest) -> Answer:
        """Begin to answer; raises BadRequest where the prompt leaves no room."""
        if request.model not in ("", self.name):
            raise BadRequest(
                f"the model {request.model!r} does not exist; this server has {self.name!r}",
                param="model",
                status=404,
                code="model_not_found",
            )
        conversation = request.conversation(describe_tools=self.describe_tools)
        ids = encode_prompt(conversation, self.tokenizer)
        room = self.context - len(ids)
        if room < 1:
            raise BadRequest(
                f"the prompt has {len(ids)} tokens, the model's context is {self.context}:"
                f" shorten the messages{' or leave out tools' if conversation.tools else ''}",
                param="messages",
                code="context_length_exceeded",
            )
        row = _StreamedRow("answer", ids)
        sampling = Sampling(
            stop=self._stop,
            max_tokens=self.context,
            max_turn_tokens=min(room, request.token_limit or room),
            temperature=request.temperature,
            seed=secrets.randbits(32) if request.seed is None else request.seed,
        )
        # Counted before the thread starts: it lengthens the row's list of ids, which is this one.
        answer = Answer(row, TurnReader(self.tokenizer), len(ids))
        threading.Thread(target=self._generate, args=(row, sampling), daemon=True).start()
        return answer

    def _generate(self, row: _StreamedRow, sampling: Sampling) -> None:
        try:
            with self._lock:
                self._engine.generate([row], lambda stopped: [None] * len(stopped), sampling)
        finally:
            row.tokens.put(None)


def load_answerer(
    folder: Path,
    tokenizer: Path | None = None,
    name: str = "",
    *,
    describe_tools: bool = True,
) -> Answerer:
    """Load a released folder, or a checkpoint together with its tokenizer's folder.

    `describe_tools` holds for a folder that does not say itself how the model was trained.
    Raises BadInput where files are missing or the tokenizer is not the checkpoint's own.
    """
    for path in (folder / "config.json", folder / "model.safetensors"):
        if not path.is_file():
            raise BadInput(f"{path} is missing: name a released model or a checkpoint's folder.")
    where = tokenizer or folder
    if not (where / "tokenizer.json").is_file():
        raise BadInput(
            f"{where} has no tokenizer.json: a checkpoint needs its tokenizer's folder as well."
        )
    text_tokenizer = load_tokenizer(where)
    if (folder / "strata.json").is_file():
        expected = read_strata(folder)["tokenizer_digest"]
        if expected != text_tokenizer.digest:
            raise BadInput(
                f"{folder} was trained with tokenizer {expected[:12]}, {where} is"
                f" {text_tokenizer.digest[:12]}: name the tokenizer of the same run."
            )
    stated = folder / "generation_config.json"
    if stated.is_file():
        describe_tools = json.loads(stated.read_text()).get("describe_tools", describe_tools)
    return Answerer(
        load_model(folder),
        text_tokenizer,
        name or folder.resolve().name,
        describe_tools=describe_tools,
    )
