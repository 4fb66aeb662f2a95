import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contract import BadInput
from components.shards.loader import Shards, open_shards
from components.shards.mixture import BLOCK
from components.shards.pack import DomainWriter, write_index

SIZES = {"general": 1003, "stem": 417, "code": 64}
MIXTURE = {"general": 0.7, "stem": 0.2, "code": 0.1}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Tokens are numbered, so that a token tells where it stands."""
    out: Path = tmp_path_factory.mktemp("shards")
    splits: dict[str, dict[str, dict[str, int]]] = {}
    for split in ("train", "heldout"):
        splits[split] = {}
        for name, size in SIZES.items():
            writer = DomainWriter(out / split, name, "<u4")
            for number, start in enumerate(range(0, size, 100)):
                ids = list(range(start, min(start + 100, size)))
                writer.append(f"{number:016x}", ids, 3 * len(ids))
            splits[split][name] = writer.close()
    write_index(out, splits, vocab_size=100_000, tokenizer_digest="d")
    return open_shards(out)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 9), st.integers(1, 300))
def test_sequence_is_a_pure_function(shards: Shards, position: int, seed: int, length: int) -> None:
    first = shards.sequence(position, seed=seed, length=length, mixture=MIXTURE)
    fresh = Shards(Path(shards.splits["train"]["code"].data.filename).parents[1])
    assert np.array_equal(
        first, fresh.sequence(position, seed=seed, length=length, mixture=MIXTURE)
    )
    assert first.shape == (length + 1,)
    assert first.dtype == np.int64
    domain = shards.piece(position, seed=seed, length=length, mixture=MIXTURE).domain
    assert np.array_equal(np.diff(first) % SIZES[domain], np.ones(length) % SIZES[domain])


@pytest.mark.parametrize("name", list(SIZES))
@pytest.mark.parametrize("length", [16, 64, 100])
def test_an_epoch_visits_every_token_once(shards: Shards, name: str, length: int) -> None:
    """The last piece is filled up with the first tokens: less than one length is seen twice."""
    size = SIZES[name]
    pieces = -(-size // length)
    for epoch in range(3):
        seen: Counter[int] = Counter()
        for inside in range(pieces):
            position = epoch * pieces + inside
            tokens = shards.sequence(position, seed=3, length=length, mixture={name: 1.0})
            seen.update(tokens[:-1].tolist())
        assert set(seen) == set(range(size))
        assert sum(seen.values()) - size < length


def test_epochs_and_seeds_have_their_own_order(shards: Shards) -> None:
    def starts(seed: int, epoch: int) -> list[int]:
        pieces = -(-SIZES["general"] // 10)
        return [
            shards.piece(epoch * pieces + n, seed=seed, length=10, mixture={"general": 1.0}).start
            for n in range(pieces)
        ]

    assert starts(1, 0) != starts(1, 1)
    assert starts(1, 0) != starts(2, 0)
    assert sorted(starts(1, 0)) == list(range(0, 1003, 10))
    assert sorted(starts(1, 1)) != sorted(starts(1, 0))  # cut elsewhere


def test_tokens_of_a_batch_follow_the_mixture(shards: Shards) -> None:
    counts = Counter(
        shards.piece(position, seed=0, length=8, mixture=MIXTURE).domain
        for position in range(BLOCK)
    )
    assert counts == {name: BLOCK * share for name, share in MIXTURE.items()}


def test_domain_without_tokens_is_refused(tmp_path: Path, shards: Shards) -> None:
    writer = DomainWriter(tmp_path / "train", "code", "<u2")
    write_index(tmp_path, {"train": {"code": writer.close()}}, vocab_size=300, tokenizer_digest="d")
    with pytest.raises(BadInput, match="no train tokens"):
        open_shards(tmp_path).sequence(0, seed=0, length=4, mixture={"code": 1.0})
    with pytest.raises(BadInput, match="poetry"):
        shards.sequence(0, seed=0, length=4, mixture={"poetry": 1.0})


def test_heldout_gives_whole_documents(shards: Shards) -> None:
    tokens, size = shards.heldout("general", 350)
    assert tokens.tolist() == list(range(300))
    assert size == 900
    tokens, size = shards.heldout("general", 10**9)
    assert (len(tokens), size) == (1003, 3009)
    tokens, size = shards.heldout("general", 40)
    assert (tokens.tolist(), size) == (list(range(40)), 120)
    assert len(shards.heldout("poetry", 10)[0]) == 0


def test_speed_is_fine(shards: Shards) -> None:
    started = time.process_time()
    for position in range(2000):
        shards.sequence(position, seed=0, length=256, mixture=MIXTURE)
    assert time.process_time() - started < 2
