#!/bin/sh
# Set up what `make` needs, once: a virtual environment and two system packages.
#
#   infra/setup.sh python           create .venv and install the project at the pinned versions
#   infra/setup.sh system [tests]   bubblewrap, Debian package lists; with `tests` Chromium, kubectl,
#                                   docker-compose, nginx and Ceph too
#
# A missing system package is installed with apt-get where the user may (root, or sudo without a
# password); otherwise one line says what to install. Running it again when all is there is instant.
set -eu

cd "$(dirname "$0")/.."

say() { printf '%s\n' "strata setup: $*" >&2; }
die() { say "$*"; exit 3; }

# Print the command that installs with root's rights, or nothing where the user has none.
apt_command() {
    command -v apt-get >/dev/null 2>&1 || return 0
    if [ "$(id -u)" = 0 ]; then
        echo "env DEBIAN_FRONTEND=noninteractive apt-get"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        echo "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get"
    fi
}

# The corpus stage downloads its text by package name, which needs apt's lists, not root.
have_lists() { apt-cache show wordnet-base >/dev/null 2>&1; }

update_lists() {
    have_lists && return 0
    apt=$(apt_command)
    if [ -z "$apt" ]; then
        return 1
    fi
    say "reading the package lists (apt-get update)"
    $apt update -qq >/dev/null || return 1
    have_lists
}

# install PACKAGE...: true when all of them were installed.
install() {
    apt=$(apt_command)
    [ -n "$apt" ] || return 1
    update_lists || true
    say "installing $*"
    $apt install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

# unpack PACKAGE: its programs to .venv/PACKAGE, without the service that it would start if installed.
unpack() {
    say "unpacking $1"
    mkdir -p ".venv/$1"
    (
        cd ".venv/$1"
        apt-get download -qq "$1" && dpkg -x "$1"_*.deb . && rm "$1"_*.deb && [ -x "usr/sbin/$1" ]
    ) >/dev/null 2>&1
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

choose_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 && is_supported "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

set_up_python() {
    python=$(choose_python) || die "Python 3.11, 3.12 or 3.13 is needed and none of" \
        "${PYTHON:-python3, python3.13, python3.12, python3.11} is one: install it or set PYTHON=PATH"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install "python$version-venv" && "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            die "this Python has no venv module: run  apt-get install python$version-venv"
    fi
    if ! is_supported .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "creating .venv with Python $version"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    say "installing the Python packages (about 2.5 GB, some minutes the first time)"
    # DeepSpeed compiles what it needs at first use; we need none of its operators.
    DS_BUILD_OPS=0 .venv/bin/python -m pip install -q --disable-pip-version-check \
        -c constraints.txt -e '.[all,dev]' ||
        die "pip failed, see above: check the network and the disk, then run the same command again"
    say "Python packages are ready"
}

set_up_system() {
    command -v bwrap >/dev/null 2>&1 || install bubblewrap ||
        die "the sandbox needs bubblewrap: run  apt-get install bubblewrap  as root"
    if command -v apt-get >/dev/null 2>&1 && ! update_lists; then
        say "no package lists for the text sources: run  apt-get update  as root;" \
            "without it the corpus is made of what Python packages carry"
    fi
    [ "${1:-}" = tests ] || return 0
    command -v chromium >/dev/null 2>&1 || install chromium ||
        die "the browser tests need Chromium: run  apt-get install chromium  as root"
    command -v kubectl >/dev/null 2>&1 || install kubernetes-client ||
        die "the tests of infra/kubernetes need kubectl: run  apt-get install kubernetes-client"
    command -v docker-compose >/dev/null 2>&1 || install docker-compose ||
        die "the tests of docker-compose.yml need it: run  apt-get install docker-compose"
    command -v nginx >/dev/null 2>&1 || [ -x .venv/nginx/usr/sbin/nginx ] || unpack nginx ||
        die "the tests of docker-compose.yml need nginx: run  apt-get install nginx  as root"
    # A real S3 gateway, and a clock that can be set wrong for one process.
    ceph="ceph-mon ceph-osd radosgw faketime openssl"
    command -v radosgw >/dev/null 2>&1 && command -v faketime >/dev/null 2>&1 || install $ceph ||
        die "the tests of object stores need Ceph: run  apt-get install $ceph  as root"
    # A wheel brings PostgreSQL, but not for every Python.
    .venv/bin/python -c 'import importlib.util as u; exit(not u.find_spec("pgserver"))' 2>/dev/null ||
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || install postgresql ||
        die "the tests of the catalog need PostgreSQL: run  apt-get install postgresql  as root"
}

case "${1:-}" in
python) set_up_python ;;
system) shift && set_up_system "$@" ;;
*) die "usage: infra/setup.sh python | system [tests]" ;;
esac
