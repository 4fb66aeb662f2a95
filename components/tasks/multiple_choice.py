"""Multiple choice over held-out documents: which title, or which class, belongs to a text.

Scored by the likelihood of each choice after the prompt, so a base model can be scored. Choices
come from other held-out documents: titles of the same class where there are enough, which keeps the
class from giving the answer away.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from components.artifacts.types import Corpus
from components.tasks.documents import Document, choose_documents
from components.tasks.splits import draws, fraction

CHOICES = 4
LONGEST_TEXT = 240
"""Characters of the text in a prompt: the context of the smallest recipe is 256 tokens."""
POOL = 4000


def multiple_choice_items(corpus: Corpus, seed: int, count: int) -> list[dict[str, Any]]:
    """Return up to `count` items {id, prompt, choices, answer, split, form}; `answer` indexes
    `choices`.
    """
    pool = choose_documents(corpus, "heldout", POOL, seed, _fit)
    titles: dict[str, list[str]] = {}
    for document in pool:
        titles.setdefault(document.kind, []).append(document.title)
    kinds = sorted(titles)
    items: list[dict[str, Any]] = []
    for document in pool:
        if len(items) >= count:
            break
        items.extend(_item(document, titles, kinds, seed))
    return items


def _fit(document: Document) -> bool:
    return bool(document.kind and document.title and len(_gloss(document)) >= 20)


def _gloss(document: Document) -> str:
    """Return the text without its leading title, cut at a word."""
    text = " ".join(document.text.split())
    if text.lower().startswith(document.title.lower()):
        text = text[len(document.title) :].lstrip(" :;,.-–—")
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT].rsplit(" ", 1)[0]
    return text


def _item(
    document: Document, titles: dict[str, list[str]], kinds: list[str], seed: int
) -> Iterator[dict[str, Any]]:
    gloss = _gloss(document)
    named = re.search(rf"\b{re.escape(document.title.lower())}", gloss.lower())
    by_title = named is None and fraction(f"form:{document.id}") < 0.5
    right = document.title if by_title else document.kind
    others = titles[document.kind] if by_title else kinds
    wrong = sorted({other for other in others if other.lower() != right.lower()})
    if len(wrong) < CHOICES - 1:
        return
    rng = draws(seed, "multiple choice", document.id)
    choices = [right, *rng.sample(wrong, CHOICES - 1)]
    rng.shuffle(choices)
    form = "title" if by_title else "kind"
    prompt = f"{gloss}\n{'Title' if by_title else 'Class'}:"
    yield {
        "id": "mc-" + hashlib.sha256(prompt.encode()).hexdigest()[:12],
        "form": form,
        "prompt": prompt,
        "choices": [f" {choice}" for choice in choices],
        "answer": choices.index(right),
        "split": "test",
    }
