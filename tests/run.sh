#!/usr/bin/env bash
# Runs every test: units, scenarios, end to end in network namespaces.
# Provides first what the end-to-end tests need and the host lacks, and a system
# for the service tests to boot, see tests/debian.sh and tests/machine.sh; the
# host is not changed. Arguments go to `cargo test`, such as `--release`, or
# `--test e2e -- keepalived`.
#
# Without arguments the programs that mostly wait come first, with the machine to
# themselves: what they time is theirs. Those that compute follow, and beside them
# a few that wait for nothing in particular.
#
# The last line sums up what the test programs themselves reported; skipped
# are those that said why they could not run here. Fails if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# Test programs that spend their time on waiting: for namespaces, timers,
# children, booted systems. Every other one computes.
WAITING="e2e service packages kernel demo"
# These wait, too, but not for anything that is timed closely.
PATIENT="sockets runner probes control"

target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target"
work=$(mktemp -d "$target/test-output.XXXXXX") || exit 1
: >"$work/all"

# Runs beside the script, as a process group: what it started ends with it.
lane=""
# shellcheck disable=SC2329 # the traps call it
leave() {
    [ -z "$lane" ] || kill -- "-$lane" 2>/dev/null
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM HUP

programs() {
    echo "Programs for the end-to-end tests:"
    tests/debian.sh || echo "tests/debian.sh failed; the tests that need its programs are skipped"
    tests/machine.sh || echo "tests/machine.sh failed; the service tests are skipped"
}
# The tests are compiled while it downloads.
set -m
programs </dev/null >"$work/programs" 2>&1 &
lane=$!
set +m
provided() {
    wait "$lane"
    lane=""
    cat "$work/programs"
}
export VIPWARD_TEST_TOOLS=$target/debian/root

tests() { cargo test --workspace --locked --no-fail-fast "$@" 2>&1; }

# One word of a list?
among() { [[ " $2 " == *" $1 "* ]]; }

everything() {
    tests --no-run | tee "$work/built" || return 1
    provided
    # "  Executable tests/codecs.rs (target/debug/deps/codecs-0123456789abcdef)"
    local name beside failed=0
    local waiting=() patient=() computing=()
    for name in $WAITING; do waiting+=(--test "$name"); done
    for name in $PATIENT; do patient+=(--test "$name"); done
    for name in $(sed -nE 's/^ *Executable tests\/.*\/deps\/(.*)-[0-9a-f]+\)$/\1/p' "$work/built"); do
        among "$name" "$WAITING $PATIENT" || computing+=(--test "$name")
    done
    {
        tests "${waiting[@]}" || failed=1
        tests "${patient[@]}" >"$work/patient" &
        beside=$!
        tests --lib --bins "${computing[@]}" || failed=1
        tests --doc || failed=1
        wait "$beside" || failed=1
        cat "$work/patient"
        return "$failed"
    } | tee "$work/all"
}

if [ $# -eq 0 ]; then
    everything
    status=$?
else
    provided
    tests "$@" | tee "$work/all"
    status=$?
fi

# Both cargo's harness and libtest-mimic's end with such a line:
#   test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; ...
read -r passed failed skipped < <(
    awk '/^test result: / {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed;/) p += $(i - 1)
            if ($i ~ /^failed;/) f += $(i - 1)
            if ($i ~ /^ignored;/) s += $(i - 1)
        }
    } END { print p + 0, f + 0, s + 0 }' "$work/all"
)
if [ "$skipped" -gt 0 ]; then
    echo "Skipped:"
    grep -aE '^test .*\.\.\. ignored' "$work/all" | sed 's/^test /  /'
fi
if [ "$failed" -gt 0 ]; then
    echo "Failed:"
    grep -aE '^test .*\.\.\. FAILED' "$work/all" | sed 's/^test /  /'
    grep -aE -A3 '^thread .* panicked at' "$work/all" | grep -av '^stack backtrace' | tail -n 80
fi
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "A test program could not be built, or ended without a result; counted as one failure."
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
