# shellcheck shell=bash
# To be sourced: ". tests/interpreters.sh". Puts the interpreters that pyenv keeps on the PATH, the
# oldest foremost, so that "python3" is the oldest supported one and tox finds the others.
# pyenv's own shims will not do: they answer only for the versions that are activated.

export UV_PYTHON_DOWNLOADS=never

signal_kit_add_interpreters() {
    command -v pyenv >/dev/null 2>&1 || return 0
    local minor version
    for minor in 3.14 3.13 3.12 3.11; do
        version=$(pyenv versions --bare --skip-aliases 2>/dev/null |
            grep -E "^${minor//./\\.}\.[0-9]+$" | sort -V | tail -n 1) || continue
        [ -n "$version" ] || continue
        PATH="$(pyenv prefix "$version")/bin:$PATH"
    done
    export PATH
}

signal_kit_add_interpreters
unset -f signal_kit_add_interpreters
