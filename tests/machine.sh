#!/usr/bin/env bash
# Provides the system that the service trials boot: a small Debian with systemd,
# made once by debootstrap, under target/machine/root (about 250 MB, 45 s).
# Where debootstrap is not installed its package is unpacked beside it. Nothing
# is installed, and nothing outside target/machine is written.
#
# Exits 0 also when it cannot be had: the trials are then skipped and say so;
# target/machine/why has the reason.
set -euo pipefail

source=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$source/../target}
mkdir -p "$target/machine"
base=$(cd "$target/machine" && pwd)
tree=$base/root
# What the trials use beside a minimal system.
packages=systemd,systemd-sysv,systemd-container,dbus,iproute2,iputils-ping,procps,sudo
# Made anew when this file changes.
stamp=$(sha256sum "$source/machine.sh" | cut -d' ' -f1)
LONGEST=600 # seconds, for a slow mirror

missing() {
    echo "$1" >"$base/why"
    echo "  machine: MISSING, the service trials are skipped: $1"
    exit 0
}

# Debian's own release where the host is one, so that its programs start inside.
suite() {
    local ID="" VERSION_CODENAME=""
    # shellcheck disable=SC1091
    . /etc/os-release 2>/dev/null || true
    if [ "$ID" = debian ] && [ -n "$VERSION_CODENAME" ]; then
        echo "$VERSION_CODENAME"
    else
        echo bookworm
    fi
}

# Where the host's own packages come from, which may be a mirror nearby.
mirror() {
    # shellcheck disable=SC2016 # apt's variable
    apt-get indextargets --format '$(REPO_URI)' "Codename: $1" "Created-By: Packages" 2>/dev/null |
        head -n 1 | grep -E '^https?://.*/debian/?$' || echo http://deb.debian.org/debian
}

debootstrap_for() {
    if command -v debootstrap >/dev/null; then
        command -v debootstrap
        return
    fi
    local work=$base/debootstrap
    rm -rf "$work"
    mkdir -p "$work/cache/archives/partial"
    (
        cd "$work"
        apt-get -o Dir::Cache="$work/cache" -o APT::Sandbox::User= -o Debug::NoLocking=1 \
            -o Acquire::http::Timeout=20 -o Acquire::Retries=2 -qq download debootstrap
        dpkg-deb -x debootstrap_*.deb .
    ) >"$base/debootstrap.log" 2>&1 || return 1
    echo "$work/usr/sbin/debootstrap"
}

make() {
    local program suite fresh=$base/root.$$
    program=$(debootstrap_for) || missing "no debootstrap, and its package cannot be had ($base/debootstrap.log)"
    suite=$(suite)
    echo "  machine: making one with debootstrap, $suite from $(mirror "$suite")" >&2
    rm -rf --one-file-system "$base"/root.*
    mkdir -p "$fresh/etc/dpkg/dpkg.cfg.d" "$base/packages"
    printf '%s\n' force-unsafe-io 'path-exclude /usr/share/doc/*' 'path-exclude /usr/share/man/*' \
        'path-exclude /usr/share/locale/*' >"$fresh/etc/dpkg/dpkg.cfg.d/small"
    # It mounts /proc in there, which is to be seen by nobody else, and to go
    # with it.
    case $program in "$base"/*) export DEBOOTSTRAP_DIR=$base/debootstrap/usr/share/debootstrap ;; esac
    if ! timeout -k 5 "$LONGEST" unshare --mount --propagation private "$program" --variant=minbase \
        --cache-dir="$base/packages" --include="$packages" "$suite" "$fresh" "$(mirror "$suite")" \
        >"$base/make.log" 2>&1; then
        rm -rf --one-file-system "$fresh"
        missing "debootstrap failed: $(grep -E '^[EW]: ' "$base/make.log" | tail -n 1) ($base/make.log)"
    fi
    # Not the first start of a fresh system, which asks questions.
    ln -sf /dev/null "$fresh/etc/systemd/system/systemd-firstboot.service"
    # Kept over a reboot.
    mkdir -p "$fresh/var/log/journal"
    echo "$stamp" >"$fresh/etc/machine-stamp"
    if [ -d "$tree" ]; then mv "$tree" "$base/root.old"; fi
    mv "$fresh" "$tree"
    rm -rf --one-file-system "$base"/root.* "$base/packages" "$base/debootstrap" "$base/why"
}

exec 9>"$base/lock"
flock 9 # two copies side by side: the second waits and finds it done
if [ "$(cat "$tree/etc/machine-stamp" 2>/dev/null)" != "$stamp" ]; then
    [ "$(id -u)" = 0 ] || missing "only root can make one"
    for program in unshare timeout apt-get dpkg-deb; do
        command -v "$program" >/dev/null || missing "no $program here"
    done
    make
fi
rm -f "$base/why"
echo "  machine: target/machine/root"
