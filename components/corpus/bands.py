"""The data engine's part of near-duplicate search, run as a process of its own.

`python -m components.corpus.bands TEXTS BUCKETS ...` reads an Arrow file of texts and writes the
groups of documents whose sketches agree in a band. It is a process because Daft decides about
telemetry when it is imported, from its environment, and because its memory is given back when it
ends. With a Ray address in Daft's own settings the same plan runs on a cluster. Its standard input
stays open as long as its parent lives, and it ends with it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import feather

from components.contract import StageFailure
from components.corpus.config import NearDuplicates
from components.settings import child_environment

SKETCH_SEED = 1
QUIET = {"DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0"}


def buckets(texts: pa.ChunkedArray, config: NearDuplicates, scratch: Path) -> list[list[int]]:
    """Return groups of two or more positions that agree in a band; each sorted, none twice."""
    scratch.mkdir(parents=True, exist_ok=True)
    given, found = scratch / "texts.arrow", scratch / "buckets.arrow"
    positions = pa.array(range(len(texts)), pa.int64())
    feather.write_feather(
        pa.table({"position": positions, "text": texts}), given, compression="uncompressed"
    )
    numbers = [config.shingle_words, config.bands, config.rows]
    command = [sys.executable, "-P", "-m", __name__, str(given), str(found), *map(str, numbers)]
    with tempfile.TemporaryFile("w+") as said:
        environment = child_environment(**QUIET)
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=said, stderr=said
        ) as engine:
            code = engine.wait()
        said.seek(0)
        if code:
            raise StageFailure(f"the near-duplicate pass failed: {said.read().strip()[-2000:]}")
    groups = feather.read_table(found)["positions"].to_pylist()
    given.unlink()
    found.unlink()
    return [list(group) for group in sorted({tuple(sorted(group)) for group in groups})]


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


def main(arguments: list[str]) -> None:
    """Read texts, write buckets."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    parser = argparse.ArgumentParser(prog="components.corpus.bands")
    parser.add_argument("texts", type=Path)
    parser.add_argument("buckets", type=Path)
    for name in ("shingle_words", "bands", "rows"):
        parser.add_argument(name, type=int)
    given = parser.parse_args(arguments)

    import daft
    from daft import functions as F

    rows = given.rows
    position = daft.col("position")
    sketch = (
        daft.col("text")
        # minhash splits on spaces only: without this, "end." and "end" differ
        .normalize(remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
        .minhash(
            num_hashes=given.bands * rows,
            ngram_size=given.shingle_words,
            seed=SKETCH_SEED,
            hash_function="xxhash",
        )
        .cast(daft.DataType.list(daft.DataType.uint32()))
    )
    # Each band is hashed with its own seed, so equal numbers of two bands do not meet.
    bands = [
        daft.col("sketch").slice(band * rows, (band + 1) * rows).hash(seed=band)
        for band in range(given.bands)
    ]
    size: Any = daft.col("size")
    several = size > 1
    plan = (
        daft.from_arrow(feather.read_table(given.texts))
        .select(position, sketch.alias("sketch"))
        .select(position, F.to_list(*bands).alias("band"))
        .explode("band")
        .groupby("band")
        .agg(position.list_agg().alias("positions"), position.count().alias("size"))
        .where(several)
        .select("positions")
    )
    feather.write_feather(plan.to_arrow(), given.buckets, compression="uncompressed")


if __name__ == "__main__":
    main(sys.argv[1:])
