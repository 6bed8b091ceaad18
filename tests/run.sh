#!/usr/bin/env bash
# Runs every test: units, scenarios, end to end in network namespaces.
# Provides first what the end-to-end tests need and the host lacks, and a system
# for the service tests to boot, see tests/debian.sh and tests/machine.sh; the
# host is not changed. Arguments go to `cargo test`, such
# as `--release`, or `--test e2e -- keepalived`.
#
# The last line sums up what the test programs themselves reported; skipped
# are those that said why they could not run here. Fails if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target"
echo "Programs for the end-to-end tests:"
tests/debian.sh || echo "tests/debian.sh failed; the tests that need its programs are skipped"
tests/machine.sh || echo "tests/machine.sh failed; the service tests are skipped"
export VIPWARD_TEST_TOOLS=$target/debian/root

output=$(mktemp "$target/test-output.XXXXXX") || exit 1
trap 'rm -f "$output"' EXIT
cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$output"
status=${PIPESTATUS[0]}

# Both cargo's harness and libtest-mimic's end with such a line:
#   test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; ...
read -r passed failed skipped < <(
    awk '/^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed;/) p += $(i - 1)
            if ($i ~ /^failed;/) f += $(i - 1)
            if ($i ~ /^ignored;/) s += $(i - 1)
        }
    } END { print p + 0, f + 0, s + 0 }' "$output"
)
if [ "$skipped" -gt 0 ]; then
    echo "Skipped:"
    grep -aE '^test .*\.\.\. ignored' "$output" | sed 's/^test /  /'
fi
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "A test program could not be built, or ended without a result; counted as one failure."
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
