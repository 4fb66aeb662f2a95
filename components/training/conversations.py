"""Read the conversations of a file as token ids with a loss mask."""

from __future__ import annotations

import json
from pathlib import Path

from components.agents.conversation import Conversation, encode
from components.contract import BadInput
from components.tokenizer.contract import TextTokenizer
from components.training.packing import Example


def read_conversations(path: Path, tokenizer: TextTokenizer) -> list[Example]:
    """Return ids and mask of every conversation in a JSON-lines file, in its order.

    Raises BadInput for a file without conversations and for a line that is none.
    """
    examples: list[Example] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                conversation = Conversation.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise BadInput(f"{path}:{number} is no conversation: {error!r}") from error
            examples.append(encode(conversation, tokenizer))
    if not examples:
        raise BadInput(f"{path} holds no conversation; make more trajectories")
    return examples
