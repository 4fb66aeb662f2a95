from components.artifacts.types import Corpus
from components.tokenizer.sample import budgets, sample_documents


def test_sample_keeps_to_its_bytes_and_its_seed(corpus: Corpus) -> None:
    path = corpus.documents("train", "general")
    everything = list(sample_documents(path, 10**9, 0))
    assert len(everything) == 40
    size = sum(len(text.encode()) for text in everything)
    half = list(sample_documents(path, size // 2, 0))
    assert 0.4 * size < sum(len(text.encode()) for text in half) <= size // 2
    assert half == list(sample_documents(path, size // 2, 0))
    assert set(half) <= set(everything)


def test_bytes_are_shared_out_by_weight() -> None:
    assert budgets({"general": 3.0, "code": 1.0}, 1000) == {"general": 750, "code": 250}
