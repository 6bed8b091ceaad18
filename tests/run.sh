#!/usr/bin/env bash
# Runs every test: units, scenarios, end to end in network namespaces.
# Provides first what the end-to-end tests need and the host lacks, and a system
# for the service tests to boot, see tests/debian.sh and tests/machine.sh; the
# host is not changed. Arguments go to `cargo test`, such as `--release`, or
# `--test e2e -- keepalived`.
#
# Without arguments the programs that mostly wait run beside those that compute,
# which yield to them; the output of each comes whole when it has ended.
#
# The last line sums up what the test programs themselves reported; skipped
# are those that said why they could not run here. Fails if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# Test programs that spend their time on waiting: for namespaces, timers,
# children, booted systems. In this order. Every other one computes.
WAITING="e2e service packages kernel sockets runner demo probes control"
# Those that compute for minutes come last, so that a failure of the others
# shows soon.
LONG="exhaustive simulation"

target=${CARGO_TARGET_DIR:-$PWD/target}
mkdir -p "$target"
work=$(mktemp -d "$target/test-output.XXXXXX") || exit 1
: >"$work/all"

# What runs beside the script; each is a process group, so that whatever it
# started ends with it.
lanes=""
beside() {
    set -m
    "$@" </dev/null &
    lanes="$lanes $!"
    set +m
}
# Fails if one of them did.
joined() {
    local lane failed=0
    for lane in $lanes; do
        wait "$lane" || failed=1
    done
    lanes=""
    return "$failed"
}
# shellcheck disable=SC2329 # the traps call it
leave() {
    local lane
    for lane in $lanes; do kill -- "-$lane" 2>/dev/null; done
    rm -rf "$work"
}
trap leave EXIT
trap 'exit 130' INT TERM HUP

programs() {
    echo "Programs for the end-to-end tests:"
    tests/debian.sh || echo "tests/debian.sh failed; the tests that need its programs are skipped"
    tests/machine.sh || echo "tests/machine.sh failed; the service tests are skipped"
}
# Downloads wait too: the tests are compiled meanwhile.
beside programs >"$work/programs" 2>&1
export VIPWARD_TEST_TOOLS=$target/debian/root

tests() { cargo test --workspace --locked --no-fail-fast "$@" 2>&1; }

# Runs some of the programs; what they print is shown and kept when all have
# ended, never between the lines of another.
shown() {
    local own status
    own=$(mktemp "$work/part.XXXXXX") || return 1
    echo "Running $*"
    tests "$@" >"$own"
    status=$?
    (
        flock 9
        cat "$own" && cat "$own" >>"$work/all"
    ) 9>"$work/lock"
    return "$status"
}

waiting() {
    local name failed=0
    for name in $WAITING; do
        shown --test "$name" || failed=1
    done
    return "$failed"
}

computing() {
    local name failed=0
    # So that a trial that waits is woken in time. Not SCHED_IDLE: who is never
    # run may hold what the kernel waits for.
    renice -n 19 -p "$BASHPID" >/dev/null 2>&1
    shown --lib --bins "${short[@]}" || failed=1
    shown --doc || failed=1
    for name in $LONG; do
        shown --test "$name" || failed=1
    done
    return "$failed"
}

# One word of a list?
among() { [[ " $2 " == *" $1 "* ]]; }

everything() {
    tests --no-run | tee "$work/built" || return 1
    # "  Executable tests/codecs.rs (target/debug/deps/codecs-0123456789abcdef)"
    local name
    short=()
    for name in $(sed -nE 's/^ *Executable tests\/.*\/deps\/(.*)-[0-9a-f]+\)$/\1/p' "$work/built"); do
        among "$name" "$WAITING $LONG" || short+=(--test "$name")
    done
    joined
    cat "$work/programs"
    beside waiting
    beside computing
    joined
}

if [ $# -eq 0 ]; then
    everything
    status=$?
else
    joined
    cat "$work/programs"
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
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "A test program could not be built, or ended without a result; counted as one failure."
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
