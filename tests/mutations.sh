#!/usr/bin/env bash
# Plants the faults of tests/mutations/ one at a time in a copy of the
# sources and says which layer of tests caught which; with arguments those whose
# names contain one of them. Takes about half a minute
# for each on two cores. Fails if one is not caught.
set -euo pipefail
cd "$(dirname "$0")/.."
VIPWARD_MUTATIONS=run exec cargo test --quiet --locked --test mutations -- "$@"
