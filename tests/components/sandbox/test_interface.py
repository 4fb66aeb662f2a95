"""Only tiers that exist can be opened, and honest commands cannot tell which one it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import EnvironmentMissing
from components.sandbox.interface import TEXT_TOOLS, Limits, Tier, open_sandbox

TIERS: tuple[Tier, ...] = ("bubblewrap", "landlock")


def test_a_tier_without_code_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match=r"apt-get install bubblewrap.*landlock") as caught:
        open_sandbox("pods", tmp_path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_shows_the_files(tier: Tier, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1", encoding="utf-8")
    sandbox = open_sandbox(tier, tmp_path)
    try:
        assert sandbox.run("ls").stdout == "one\n"
    finally:
        sandbox.close()


AGREED = (
    *(f"wc {flag} {name}" for flag in ("-c", "-l", "-w", "-L") for name in ("901.csv", "901")),
    "wc -c *",
    "cw -c 901.csv",
    "ls",
    "cat 901.csv | sort -r | uniq -c",
    "head -n 1 901.csv; tail -n 1 901.csv; tail -c 2 901.csv",
    "grep -c a 901.csv; grep -n c 901.csv; grep z 901.csv",
    "awk '{print NF}' 901.csv; sed s/a/x/ 901.csv; cut -d' ' -f2 901.csv; tr a-z A-Z < 901.csv",
    "find . -type f; find . -name '*.txt'; stat -c '%s %n' 901.csv; file_that_is_not_there",
    "sha256sum 901.csv; od -c 901.csv; diff 901.csv /dev/null; cmp 901.csv 901.csv",
    "cat <(sort 901.csv) - </dev/null; echo $((6 * 7)); printf '%05d' 42; seq 3 | paste -sd+",
    "echo x > $HOME/x; cd $HOME; cp -p x y; mv y z; chmod 600 z; gzip z; sed -i s/x/y/ x; cat x",
    "cd $TMPDIR; mkdir -p a/b; touch a/b/c; tar cf t a; tar tf t; install t u; ls a/b; rm -r a",
    "python3 -c 'print(len(open(\"901.csv\").read()))'",
    "python3 -c 'import this_is_missing' 2>&1 | tail -n 1",
    'python3 -c \'import os, shutil; shutil.copy("901.csv", os.environ["HOME"])\'',
    'python3 -c \'import subprocess as s; print(s.run(["wc", "-c", "901.csv"]).returncode)\'',
    "python3 -c 'import tempfile; print(tempfile.NamedTemporaryFile().write(b\"x\"))'",
    "python3 -c 'import asyncio; print(asyncio.run(asyncio.sleep(0, 6)))'",
    "xargs -n1 echo < 901.csv; nice true; timeout 5 true; nproc > /dev/null; env -i true; date +%Z",
    "bash -c 'ulimit -n; ulimit -f; ulimit -t'; set -o pipefail; false | true; echo $?",
    "trap 'echo bye' EXIT; kill -TERM $$",
    "read line; echo $?; test -t 0; echo $?; exit 300",
    "(exit 7)",
    "while :; do :; done",
    "bash -c 'head -c 9000000 /dev/zero > $HOME/x; echo $?' 2> /dev/null",
    "yes | head -c 100000",
    "false",
    "if then",
)


def test_tiers_agree_on_honest_commands(files: Path) -> None:
    sessions = [open_sandbox(tier, files, Limits(wall_seconds=5.0)) for tier in TIERS]
    try:
        for command in AGREED:
            one, other = [session.run(command, cpu_seconds=1.0) for session in sessions]
            assert one == other, command
            for session in sessions:
                session.reset()
    finally:
        for session in sessions:
            session.close()


@pytest.mark.parametrize("tier", TIERS)
def test_text_tools_are_found_by_name_and_nothing_that_tells_the_time(
    tier: Tier, tmp_path: Path
) -> None:
    (tmp_path / "901.csv").write_text("a b\n")
    sandbox = open_sandbox(tier, tmp_path, text_tools=True)
    try:
        for command in ("date", "w", "ps", "unshare true", "python3 -c 1", "stat 901.csv"):
            refused = sandbox.run(command)
            assert refused.code == 127, command
            assert refused.stderr == f"bash: line 1: {command.split()[0]}: command not found\n"
        for name in TEXT_TOOLS:
            assert sandbox.run(f"type -P {name}").stdout.strip().endswith(f"/tools/{name}")
        assert sandbox.run("sort 901.csv | wc -c").stdout == "4\n"
        assert " Jan  1  1970 " in sandbox.run("ls -l 901.csv").stdout
    finally:
        sandbox.close()
