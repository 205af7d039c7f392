#!/usr/bin/env bash
# Does what the README tells a newcomer, and nothing else: its two command lines, as they stand
# there, in a clean clone of HEAD with an empty virtual environment. Changes that are not committed
# do not take part.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The one line of the first sh block under the heading.
readme_line() {
    awk -v heading="## $1" '
        fenced && /^```[ \t]*$/ { exit }
        fenced { print; next }
        /^## / { within = ($0 == heading) }
        within && /^```sh[ \t]*$/ { fenced = 1 }
    ' README.md | {
        mapfile -t lines
        if ((${#lines[@]} != 1)) || [[ -z ${lines[0]} ]]; then
            echo "README.md needs a sh block of exactly one line under \"## $1\"; it has" \
                "${#lines[@]} lines there." >&2
            return 1
        fi
        printf '%s\n' "${lines[0]}"
    }
}

# What the surroundings set for their own tests must not help here.
unset PYTHONPATH PYTHONHOME DJANGO_SETTINGS_MODULE VIRTUAL_ENV
for variable in $(compgen -v SIGNAL_KIT_ || true); do unset "$variable"; done

git clone --quiet --no-local "$root" "$scratch/clone"
python3 -m venv "$scratch/environment"
cd "$scratch/clone"
# shellcheck disable=SC1091
. "$scratch/environment/bin/activate"

for heading in "Try it" "Run the tests"; do
    line=$(readme_line "$heading")
    printf '\n$ %s\n' "$line"
    if ! bash -c "$line" </dev/null; then
        echo "The README's line under \"## $heading\" failed: $line" >&2
        exit 1
    fi
done
