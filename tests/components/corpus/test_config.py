import pytest
from pydantic import ValidationError

from components.corpus.config import CorpusConfig, DebianPackage, LocalFiles, PythonPackage, label


def test_configuration_survives_json() -> None:
    config = CorpusConfig(
        sources=(
            LocalFiles(paths=("a",), domain="stem"),
            PythonPackage(domain="code"),
            DebianPackage(name="dict-gcide", parser="dict", domain="general"),
        )
    )
    assert CorpusConfig.model_validate(config.model_dump(mode="json")) == config
    assert CorpusConfig.model_validate_json(config.model_dump_json()) == config


def test_kind_of_source_is_told_by_type() -> None:
    given = {"sources": [{"type": "python", "name": "sympy", "take": "docs", "domain": "stem"}]}
    (source,) = CorpusConfig.model_validate(given).sources
    assert isinstance(source, PythonPackage)
    assert label(source) == "python:sympy:docs"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([], "sources is empty"),
        ([{"type": "python", "domain": "code"}] * 2, "two sources are called"),
        ([{"type": "ftp", "domain": "code"}], "ftp"),
        ([{"type": "files", "paths": [], "domain": "code"}], "paths"),
        ([{"type": "python", "domain": "poetry"}], "domain"),
    ],
)
def test_mistakes_are_named(sources: list, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CorpusConfig.model_validate({"sources": sources})
