# shellcheck shell=bash
# To be sourced: ". tests/packages.sh". Installs Debian's packages for the tests.

export DEBIAN_FRONTEND=noninteractive
script=$(basename "$0" .sh)

say() { printf '%s: %s\n' "$script" "$*"; }

fail() {
    printf '%s: %s\n' "$script" "$*" >&2
    exit 1
}

need_root() {
    ((EUID == 0)) || fail "$1 has to be set up, which takes root. Run tests/$script.sh as root," \
        "or do it yourself."
}

updated=
install_packages() {
    local package missing=()
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == \
            installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "There is no apt-get here. Install ${missing[*]} yourself."
    need_root "${missing[*]}"
    say "installing ${missing[*]}"
    if [[ -z $updated ]]; then
        apt-get update -qq || fail "apt-get update failed."
        updated=yes
    fi
    apt-get install -qq --yes --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        fail "Debian's packages ${missing[*]} could not be installed."
}
