"""Conversations as HTML, and that the colours say what the loss mask says."""

from __future__ import annotations

from typing import ClassVar

from components.agents.conversation import Conversation, encode
from components.tokenizer.special_tokens import SPECIAL_TOKENS
from dashboards import transcript
from tests.dashboards.sample_home import conversations


class Letters:
    """Encode a letter as a token, with the special tokens of the real contract."""

    special: ClassVar = {token: 0x110000 + n for n, token in enumerate(SPECIAL_TOKENS)}

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


def branch() -> Conversation:
    return list(conversations(0, "midtrain"))[3]


def test_colours_are_the_loss_mask_that_training_uses() -> None:
    for conversation in conversations(0, "midtrain"):
        ids, mask = encode(conversation, Letters())  # type: ignore[arg-type]
        shown: list[tuple[int, int]] = []
        for text, special, loss, untrained in transcript.pieces(conversation):
            assert not (loss and untrained)
            tokens = [Letters.special[text]] if special else [ord(letter) for letter in text]
            shown += [(token, int(loss)) for token in tokens]
        assert shown == list(zip(ids, mask, strict=True))


def test_a_mistake_is_red_and_its_recovery_is_announced() -> None:
    page = transcript.turns(branch())
    assert page.count("s-wrong") == 2
    assert page.count("s-trained") == 2
    assert page.index("goes wrong: missing extension") < page.index("s-wrong")
    assert page.index("recovers") > page.index("No such file")


def test_shared_turns_are_faded() -> None:
    assert transcript.turns(branch(), shared=1).count("s-shared") == 1


def test_what_tools_wrote_is_escaped() -> None:
    research = list(conversations(0, "midtrain"))[1]
    for page in (transcript.turns(research), transcript.spans(research)):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page


def test_untrained_text_differs_from_context() -> None:
    page = transcript.spans(branch())
    assert 'class="s-off"' in page
    assert 'class="s-on"' in page
    trained, whole = transcript.counts(branch())
    assert 0 < trained < whole
