# shellcheck shell=bash
# Sourced by bin/test, bin/demo and .ci/run: goes to the checkout, and `set_up [EXTRA]` keeps its .venv
# in step with setup.cfg. Each step says `|| return` itself: bash forgets `set -e` inside a function whose
# outcome the caller looks at.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

find_python() {
    local python
    for python in python3.13 python3.12 python3.11 python3; do
        # Asked, not only looked for: a pyenv shim may stand for a version that is not there.
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "dracotask needs Python 3.11 or later, and none is on PATH ($PATH)." >&2
    return 1
}

make_venv() {
    local python
    python=$(find_python) || return
    if ! "$python" -m venv .venv; then
        echo "$python could not make .venv. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2
        return 1
    fi
}

install() { # [EXTRA]
    # What an installation is made from; the script is copied into .venv/bin.
    local made_from stamp=.venv/installed-${1:-core}
    made_from=$(cat setup.cfg pyproject.toml bin/dracotask.py | cksum)
    if [ ! -x .venv/bin/pip ] || [ ! -x .venv/bin/python ]; then make_venv || return; fi
    if [ "$(cat "$stamp" 2>/dev/null)" = "$made_from" ]; then return; fi
    echo "Installing dracotask into $PWD/.venv: once, and again when setup.cfg has changed." >&2
    .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check -e ".${1:+[$1]}" || return
    echo "$made_from" >"$stamp"
}

set_up() { # [EXTRA]
    # One at a time, when two are started together: the lock is held on setup.cfg itself.
    {
        if command -v flock >/dev/null; then flock 9; fi
        install "$@"
    } 9<setup.cfg
}
