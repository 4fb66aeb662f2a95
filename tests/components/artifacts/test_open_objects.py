from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts.local_store import LocalStore
from components.artifacts.open_objects import open_objects
from components.artifacts.s3_store import S3Store
from components.contract import BadInput, EnvironmentMissing
from components.settings import Settings


@pytest.mark.parametrize("uri", ["/data/store", "store", "./a/b"])
def test_a_path_is_a_directory_of_this_machine(uri: str):
    opened = open_objects(uri, Settings())
    assert isinstance(opened, LocalStore)
    assert opened.uri == str(Path(uri).absolute())


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/prefix", "s3://my.bucket-1/a/b"])
def test_a_bucket_keeps_its_name(uri: str, tmp_path: Path):
    for written in (uri, uri + "/"):
        opened = open_objects(written, Settings(home=tmp_path))
        assert isinstance(opened, S3Store)
        assert opened.uri == uri
    assert list(tmp_path.iterdir()) == [], "opening makes nothing"


def test_two_servers_share_no_files(tmp_path: Path):
    here = Settings(home=tmp_path)
    other = here.model_copy(update={"s3_endpoint": "http://127.0.0.1:9000"})
    places = [open_objects("s3://bucket/a", s).directory("k") for s in (here, other)]
    assert places[0] != places[1]
    assert all(place.is_relative_to(tmp_path / "cache") for place in places)


@pytest.mark.parametrize(
    "uri",
    ["", "gs://bucket", "http://host/bucket", "s3://", "s3://Bad_Bucket", "s3://b", "s3:///prefix",
     "s3://bucket//prefix", "s3://bucket/../other", "S3://bucket"],
)  # fmt: skip
def test_a_wrong_name_says_what_is_wanted(uri: str):
    with pytest.raises(BadInput, match="directory or s3://bucket/prefix"):
        open_objects(uri, Settings())


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        ({"s3_endpoint": "localhost"}, BadInput, "STRATA_S3_ENDPOINT"),
        ({"s3_region": "no region!"}, BadInput, "STRATA_S3_REGION"),
        ({"s3_ca_bundle": "/none.pem"}, EnvironmentMissing, "STRATA_S3_CA_BUNDLE"),
    ],
)
def test_a_wrong_setting_is_named(wrong, kind, told: str, tmp_path: Path):
    with pytest.raises(kind, match=told):
        open_objects("s3://bucket", Settings(home=tmp_path, **wrong))
