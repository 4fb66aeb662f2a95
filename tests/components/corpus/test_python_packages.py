import platform
from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.corpus.python_packages import code, docs, dotted, modules, revision


def test_modules_leave_out_tests_and_site_packages() -> None:
    names = [name for name, _ in modules("stdlib")]
    assert "json/decoder.py" in names
    assert not [name for name in names if "site-packages" in name or "/test/" in f"/{name}"]


def test_code_is_a_module_a_document() -> None:
    found = {document.title: document.text for document in code("pydantic", 0)}
    assert "class BaseModel" in found["pydantic.main"]


def test_docs_have_kind_and_reference() -> None:
    found = {document.title: document for document in docs("pydantic", 0)}
    method = found["pydantic.main.BaseModel.model_validate"]
    assert method.kind == "method"
    assert method.references == ("pydantic.main.BaseModel",)
    assert found["pydantic.main.BaseModel"].kind == "class"
    assert found["pydantic.errors.PydanticUserError"].kind in ("class", "exception")


def test_revision_names_version_and_content(tmp_path: Path) -> None:
    cache = tmp_path / "stdlib.json"
    assert revision("stdlib", cache).startswith(platform.python_version() + " sha256:")
    assert revision("stdlib", cache) == revision("stdlib", tmp_path / "other.json")
    assert revision("pydantic", cache).startswith("2.")


def test_absent_package_is_named() -> None:
    with pytest.raises(EnvironmentMissing, match="pip install no-such-package"):
        list(code("no-such-package", 0))


def test_names_of_modules() -> None:
    assert dotted("json/__init__.py") == "json"
    assert dotted("json/decoder.py") == "json.decoder"
