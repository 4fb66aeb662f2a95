"""The certificate of a release: which artifacts it was made from, and the sum of every file in it.

Digests of inputs lead back through the manifests to the whole run; nothing here depends on when or
where the release was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.artifacts.types import Artifact

NAME = "certificate.json"
FORMAT = 1


def certificate(name: str, inputs: Iterable[tuple[str, Artifact]], folder: Path) -> dict[str, Any]:
    """Return the certificate of `folder`: inputs by role, and sha256 and size of each file
    there."""
    return {
        "format": FORMAT,
        "name": name,
        "inputs": [
            {"role": role, "step": made.step, "key": made.key, "digest": made.digest}
            for role, made in inputs
        ],
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != NAME
        },
    }


def write_certificate(content: dict[str, Any], folder: Path) -> None:
    """Write the certificate into its folder, keys sorted."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def mismatches(folder: Path) -> list[str]:
    """Return what contradicts the folder's certificate: files missing, added or changed.

    Raises FileNotFoundError where there is no certificate.
    """
    stated = json.loads((folder / NAME).read_text(encoding="utf-8"))["files"]
    found = certificate("", (), folder)["files"]
    report = [f"{name}: missing" for name in sorted(stated.keys() - found.keys())]
    report += [f"{name}: not in the certificate" for name in sorted(found.keys() - stated.keys())]
    report += [
        f"{name}: content differs"
        for name in sorted(stated.keys() & found.keys())
        if stated[name] != found[name]
    ]
    return report


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
