#!/usr/bin/env bash
# Fuzzes every target of fuzz/src/lib.rs and prints what was covered.
#
#   fuzz/run.sh                 8 s each, from the committed corpus and always
#                               in the same order, as many side by side as
#                               there are cores; for CI
#   fuzz/run.sh long [MINUTES]  10 minutes each, or so many; inputs collect in
#                               target/fuzz/corpus
#   fuzz/run.sh keep            of those and the committed ones keeps a few that
#                               cover the same edges, in fuzz/corpus
#   fuzz/run.sh show TARGET FILE   one input again; `agent` with a trace
#
# TARGETS="agent arp" limits it to some. Nothing is installed. Where its
# libraries cannot be had, or the compiler cannot instrument, it says so and
# succeeds: `cargo test --test corpora` runs the committed inputs everywhere.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd) || exit 1
unset CARGO_TARGET_DIR
built=$target/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
binary=$built/$triple/release/vipward-fuzz
# Each has a corpus; a test sees to it.
targets=${TARGETS:-$(ls fuzz/corpus)}
# What libFuzzer is to be told by the code: the edges that were taken, and what
# was compared with what. The options are rustc's own, of no stable interface.
instrument="-Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-sanitizer-coverage-stack-depth
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0"

# The longest input that says anything new.
longest() {
    case $1 in
        advert_ipv4) echo 1200 ;; # 60 + 8 + 255 * 4 + 28
        advert_ipv6) echo 4200 ;; # 40 + 8 + 255 * 16 + 28
        trailer) echo 1200 ;;
        arp) echo 64 ;;
        neighbour) echo 2200 ;; # the longest option has 2040
        control_request) echo 16384 ;; # twice the head's bound
        config_text | keepalived_conf) echo 8192 ;;
        runner_message) echo 4096 ;;
        link_message) echo 1232 ;; # the longest datagram and a byte more
        *) echo 4096 ;;
    esac
}

skip() {
    echo "Fuzzing is skipped: $1."
    exit 0
}

prepare() {
    command -v c++ > /dev/null || skip "libFuzzer needs a C++ compiler, and there is no c++"
    local probe
    probe=$(mktemp -d) || exit 1
    echo 'fn main() {}' > "$probe/probe.rs"
    # shellcheck disable=SC2086 # one word an option
    if ! RUSTC_BOOTSTRAP=1 rustc --emit=obj -o "$probe/probe.o" $instrument "$probe/probe.rs" \
        2> "$probe/error"; then
        skip "this compiler cannot instrument: $(head -1 "$probe/error")"
    fi
    rm -r "$probe"
    if ! cargo fetch --quiet --locked --manifest-path fuzz/Cargo.toml 2> "$built.error"; then
        if grep -qF -e '--locked' "$built.error"; then
            cat "$built.error"
            echo "fuzz/Cargo.lock does not fit Cargo.toml: run cargo update --workspace --manifest-path fuzz/Cargo.toml"
            exit 1
        fi
        skip "its libraries cannot be had: $(tail -1 "$built.error")"
    fi
    build
}

# Without a sanitizer: outside src/net/ there is no unsafe code to watch. For a
# named platform, so that build scripts are not instrumented.
build() {
    # A binary of an older build must not stand in for one that fails.
    rm -f "$binary"
    # shellcheck disable=SC2086 # one word an option
    RUSTC_BOOTSTRAP=1 CARGO_NET_OFFLINE=true RUSTFLAGS=$(echo $instrument) \
        cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml \
        --target "$triple" --target-dir "$built" 2> "$built.error" || {
        cat "$built.error"
        echo "The fuzz targets cannot be built."
        exit 1
    }
}

dictionary() {
    local file=fuzz/dictionaries/$1.dict
    [ -f "$file" ] && echo "-dict=$file"
}

# A figure of libFuzzer's log: `figure cov LOG` is the last value after `cov:`.
figure() {
    grep -aoE "\b$1: [0-9]+" "$2" | tail -1 | grep -oE '[0-9]+$'
}

# run SECONDS TARGET CORPUS...: the first corpus takes what is new.
run() {
    local seconds=$1 name=$2 log=$built/$2.log artifacts=$built/artifacts/$2/
    shift 2
    mkdir -p "$artifacts"
    # shellcheck disable=SC2046
    VIPWARD_FUZZ_TARGET=$name "$binary" "$@" $(dictionary "$name") -max_len="$(longest "$name")" \
        -max_total_time="$seconds" ${seed:+-seed="$seed"} -timeout=30 -report_slow_units=30 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$artifacts" > "$log" 2>&1
    local status=$? executions rate
    executions=$(grep -aoE 'number_of_executed_units: *[0-9]+' "$log" | grep -oE '[0-9]+$')
    rate=$(grep -aoE 'average_exec_per_sec: *[0-9]+' "$log" | grep -oE '[0-9]+$')
    printf '%-16s %12s %9s %7s %9s %7s\n' "$name" "${executions:-?}" "${rate:-?}" \
        "$(figure cov "$log")" "$(figure ft "$log")" "$(grep -aoE 'corp: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+$')"
    if [ "$status" -ne 0 ]; then
        grep -aE 'panicked at|ERROR: libFuzzer|SUMMARY|Test unit written' -A1 "$log" | head -12
        echo "FAILED: $name. Once it is mended, keep the input in fuzz/failed/$name/."
        return 1
    fi
}

heading() {
    printf '%-16s %12s %9s %7s %9s %7s\n' target executions per-second edges features inputs
}

# The captures and fixtures that fuzzing begins with; the test writes them.
seeds() {
    cargo test --quiet --locked --test corpora seed > /dev/null 2>&1 || {
        echo "cargo test --test corpora fails; see there."
        exit 1
    }
}

failed=0
case ${1:-short} in
    short)
        # A verdict on a change is not to depend on luck; `long` is for finding.
        seed=1
        prepare
        cores=$(nproc)
        for name in $targets; do
            while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n; done
            scratch=$built/short/$name
            rm -rf "$scratch"
            mkdir -p "$scratch"
            (
                run "${SECONDS_EACH:-8}" "$name" "$scratch" "fuzz/corpus/$name" > "$scratch.row"
                echo "$?" > "$scratch.status"
            ) &
        done
        wait
        heading
        for name in $targets; do
            cat "$built/short/$name.row"
            [ "$(cat "$built/short/$name.status")" = 0 ] || failed=1
        done
        ;;
    long)
        prepare
        seeds
        heading
        for name in $targets; do
            mkdir -p "$built/corpus/$name"
            run $((${2:-10} * 60)) "$name" "$built/corpus/$name" "fuzz/corpus/$name" "$target/tmp/seeds/$name" ||
                failed=1
        done
        ;;
    keep)
        prepare
        for name in $targets; do
            chosen=$built/chosen/$name
            rm -rf "$chosen"
            mkdir -p "$chosen" "$built/corpus/$name" "fuzz/corpus/$name"
            VIPWARD_FUZZ_TARGET=$name "$binary" -set_cover_merge=1 -use_counters=0 -max_len="$(longest "$name")" \
                "$chosen" "fuzz/corpus/$name" "$built/corpus/$name" > "$built/$name.log" 2>&1 || {
                tail -5 "$built/$name.log"
                exit 1
            }
            # At the bounds of tests/corpora: the shortest cover least.
            while [ "$(ls "$chosen" | wc -l)" -gt 190 ]; do
                rm "$chosen/$(ls -S "$chosen" | tail -1)"
            done
            while [ "$(cat "$chosen"/* | wc -c)" -gt 480000 ]; do
                rm "$chosen/$(ls -S "$chosen" | head -1)"
            done
            rm -r "fuzz/corpus/$name"
            cp -r "$chosen" "fuzz/corpus/$name"
            echo "$name: $(ls "$chosen" | wc -l) files, $(cat "$chosen"/* | wc -c) bytes"
        done
        ;;
    show)
        TARGETS=${2:?which target}
        targets=$TARGETS
        prepare
        VIPWARD_FUZZ_TRACE=1 VIPWARD_FUZZ_TARGET=$2 "$binary" "${3:?which file}"
        exit
        ;;
    *)
        sed -n '2,16s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
exit "$failed"
