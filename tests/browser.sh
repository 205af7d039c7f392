#!/usr/bin/env bash
# Sees to it that there is a Chromium for tests/e2e: Debian's, if none is on the PATH. Needs root
# only where there is something to do.
set -euo pipefail

# shellcheck source=tests/packages.sh
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

command -v chromium google-chrome >/dev/null || install_packages chromium
chromium=$(command -v chromium || command -v google-chrome) || fail "There is still no Chromium."
# As root it only starts without its sandbox, and it has to start for its version as well.
say "$("$chromium" --no-sandbox --version) is there"
