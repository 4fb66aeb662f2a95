"""One digest over the code of all stages, for the label `strata.code` of an image.

    python -m components.execution.image_code [--expect DIGEST]

The label is for people and for a look before a run. What counts when a stage starts is the digest
of that stage, which `execute` computes from the sources it finds; a label cannot drift from them,
since the build of an image ends where the two differ.
"""

from __future__ import annotations

import sys

from components.artifacts.identity import canonical_json, code_digest, sha256_text
from components.contract import EnvironmentMissing
from components.stages import STAGES


def image_code() -> str:
    """Return the digest; equal for equal code on every Python version."""
    return sha256_text(canonical_json({s.name: code_digest(s).digest for s in STAGES.values()}))


def expect(digest: str) -> None:
    """Raise EnvironmentMissing where the sources have another digest."""
    found = image_code()
    if found != digest:
        raise EnvironmentMissing(
            f"the sources have the code digest {found}, not {digest}: they changed after it was "
            "taken, so take it again and repeat the build"
        )


def main(arguments: list[str]) -> int:
    """Print the digest, or check it with `--expect DIGEST`; returns the exit code."""
    if arguments[:1] == ["--expect"]:
        try:
            expect(arguments[1])
        except EnvironmentMissing as error:
            print(error, file=sys.stderr)
            return error.exit_code
    print(image_code())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
