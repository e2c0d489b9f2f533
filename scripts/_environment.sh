# Sourced by the other scripts: makes `.venv` with workroot and its development tools, once.
# A change of pyproject.toml installs again. Needs Python >= 3.11 with the venv module, and a package index.
set -eu
cd "$(dirname -- "$0")/.."

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "workroot needs Python 3.11 or newer; set PYTHON to one" >&2
    exit 2
}

# make_environment DIRECTORY WHAT...: a virtual environment with what pip is to install, made once for a pyproject.toml.
make_environment() {
    environment=$1
    shift
    if ! cmp -s pyproject.toml "$environment/installed-from" || [ ! -x "$environment/bin/python" ]; then
        echo "Installing into $environment ..." >&2
        [ -x "$environment/bin/python" ] || "$(find_python)" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
        cp pyproject.toml "$environment/installed-from"
    fi
}

# need_package NAME: a program that some tests run, from the package of the same name, where root can install one.
# Elsewhere those tests say how to install it.
need_package() {
    if ! command -v "$1" >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "Installing $1 ..." >&2
        set -- env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 install --no-install-recommends -y "$1"
        "$@" >/dev/null 2>&1 || { apt-get -qq update && "$@"; } >/dev/null || echo "It could not be installed." >&2
    fi
}

make_environment .venv --editable . --group dev
