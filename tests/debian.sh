#!/usr/bin/env bash
# Provides the foreign programs that tests talk to: keepalived, FRR's vrrpd and
# zebra, ip, nft, systemd-analyze, promtool and stress-ng. What the host has is
# used; what it lacks is downloaded as Debian packages and unpacked under
# target/debian/root.
# Nothing is installed, and nothing outside target/debian is written.
#
# Prints what is used or missing. Exits 0 also when something is missing: the
# tests that need it are then skipped and say so.
set -euo pipefail

target=${CARGO_TARGET_DIR:-$(cd "$(dirname "$0")/.." && pwd)/target}
base=$target/debian
root=$base/root
PATH=$PATH:/usr/sbin:/sbin

# package, and the program by which it is known
wanted="keepalived:keepalived frr:/usr/lib/frr/vrrpd iproute2:ip nftables:nft systemd:systemd-analyze prometheus:promtool stress-ng:stress-ng"
# Whole in themselves: what promtool's package depends on is for web pages.
alone="prometheus"

on_host() {
    case $1 in
        /*) [ -x "$1" ] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

unpacked() {
    case $1 in
        /*) [ -x "$root$1" ] ;;
        *) [ -x "$root/usr/sbin/$1" ] || [ -x "$root/sbin/$1" ] || [ -x "$root/usr/bin/$1" ] || [ -x "$root/bin/$1" ] ;;
    esac
}

# apt with all that it writes kept under target/debian; $1 says whose lists.
apt() {
    local lists=$1
    shift
    local options=(
        -o Dir::Cache="$base/cache" -o APT::Sandbox::User= -o Debug::NoLocking=1
        -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=2
        -o Dpkg::Use-Pty=0
    )
    mkdir -p "$base/cache/archives/partial"
    if [ "$lists" = private ]; then
        mkdir -p "$base/lists/partial"
        options+=(-o Dir::State::Lists="$base/lists")
    fi
    apt-get "${options[@]}" "$@"
}

# The package and those of its dependencies that are not installed, as
# name=version, one a line. libc is never among them: a second one beside the
# host's loader does not work.
closure() {
    apt "$1" --print-uris -qq --yes --no-install-recommends install "$2" |
        sed -n "s/^'[^']*' \([^_]*\)_\([^_]*\)_[^ ]* .*/\1=\2/p" |
        sed 's/%3a/:/g' |
        if [ "$2" = "$alone" ]; then grep "^$2="; else grep -v -E '^(libc6|libc-bin|libgcc-s1)='; fi || true
}

fetch() {
    local lists=$1 package=$2 into=$3 names
    names=$(closure "$lists" "$package") && [ -n "$names" ] || return 1
    mkdir -p "$base/archives"
    # shellcheck disable=SC2086 # one word a package
    (cd "$base/archives" && apt "$lists" download -qq $names) || return 1
    local name file
    for name in $names; do
        file=$(printf '%s' "$name" | sed 's/:/%3a/g; s/=/_/')
        dpkg-deb -x "$base/archives/${file}"_*.deb "$into" || return 1
    done
}

provide() {
    local missing="" package program
    for pair in $wanted; do
        package=${pair%%:*} program=${pair#*:}
        on_host "$program" || unpacked "$program" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "tests/debian.sh: no apt-get and dpkg-deb here, so these cannot be had:$missing" >&2
        return 0
    fi
    # Into a directory of its own first: whoever looks at root sees a whole one.
    local fresh=$base/root.$$ updated="" got=""
    rm -rf "$base"/root.*
    mkdir -p "$fresh"
    [ -d "$root" ] && cp -a "$root/." "$fresh"
    for package in $missing; do
        echo "tests/debian.sh: fetching $package into target/debian" >&2
        if fetch host "$package" "$fresh" 2>"$base/$package.log"; then
            got=yes
            continue
        fi
        if [ -z "$updated" ]; then
            apt private update -qq >"$base/update.log" 2>&1 || true
            updated=yes
        fi
        if fetch private "$package" "$fresh" 2>>"$base/$package.log"; then
            got=yes
        else
            echo "tests/debian.sh: $package cannot be had, see $base/$package.log" >&2
        fi
    done
    # Swapped only for something better: another run may be using it.
    if [ -n "$got" ]; then
        [ -d "$root" ] && mv "$root" "$base/root.old"
        mv "$fresh" "$root"
    fi
    rm -rf "$base"/root.* "$base/archives"
}

report() {
    local program
    for pair in $wanted; do
        program=${pair#*:}
        if on_host "$program"; then
            echo "  $program: the host's"
        elif unpacked "$program"; then
            echo "  $program: target/debian/root"
        else
            echo "  $program: MISSING, the tests that need it are skipped"
        fi
    done
}

mkdir -p "$base"
exec 9>"$base/lock"
flock 9 # two copies side by side: the second waits and finds it done
provide
report
