#!/usr/bin/env bash
# Programs that judge and make packages, in a small Debian of their own below
# target/packaging: lintian, rpmbuild, rpmlint, shellcheck. Nothing is installed
# on this host.
#
#   packaging/tools.sh make            provides them (once, a minute or two)
#   packaging/tools.sh have PROGRAM    is it there?
#   packaging/tools.sh run PROGRAM ... runs it; this directory and target/ are
#                                      where they are outside, and whatever it
#                                      writes anywhere else is gone afterwards
#
# `make` exits 0 also when they cannot be had; target/packaging/why has the reason.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p "${CARGO_TARGET_DIR:-target}/packaging"
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
base=$target/packaging
root=$base/root
packages="lintian rpm rpmlint shellcheck dpkg-dev binutils"

missing() {
    echo "$1" >"$base/why"
    echo "  packaging: MISSING, packages are not judged: $1"
    exit 0
}

# Mounts are this command's own and go with it.
export KEEP=""
inside() {
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --pid --fork --kill-child --propagation private sh -c '
        set -e
        root=$1 here=$2 target=$3
        shift 3
        if [ -z "$KEEP" ]; then
            mount -t tmpfs none "$root/mnt"
            mkdir "$root/mnt/up" "$root/mnt/work" "$root/mnt/root"
            mount -t overlay none "$root/mnt/root" \
                -o "lowerdir=$root,upperdir=$root/mnt/up,workdir=$root/mnt/work"
            root=$root/mnt/root
        fi
        mkdir -p "$root$here" "$root$target"
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount --bind "$here" "$root$here"
        mount --bind "$target" "$root$target"
        exec chroot "$root" /usr/bin/env -C "$here" "$@"' sh "$root" "$PWD" "$target" "$@"
}

make() {
    [ "$(id -u)" = 0 ] || missing "only root can make one"
    tests/machine.sh >/dev/null
    [ -e "$target/machine/root/etc/machine-stamp" ] ||
        missing "no system to add them to: $(cat "$target/machine/why" 2>/dev/null)"
    rm -rf --one-file-system "$base/fresh"
    cp -a "$target/machine/root" "$base/fresh"
    rm -f "$base/fresh/etc/dpkg/dpkg.cfg.d/small"
    cp -L /etc/resolv.conf "$base/fresh/etc/resolv.conf" 2>/dev/null || true
    # This host's sources: they are known to work.
    cp -a /etc/apt/. "$base/fresh/etc/apt/"
    # shellcheck disable=SC2086 # one word a package
    if ! {
        export KEEP=yes
        root=$base/fresh inside apt-get -o Acquire::Retries=2 -qq update &&
            root=$base/fresh inside env DEBIAN_FRONTEND=noninteractive \
                apt-get -qq install --no-install-recommends --yes $packages
    } >"$base/make.log" 2>&1; then
        rm -rf --one-file-system "$base/fresh"
        missing "apt-get failed: $(grep '^E: ' "$base/make.log" | tail -n 1) ($base/make.log)"
    fi
    echo "$packages" >"$base/fresh/etc/packaging-stamp"
    rm -rf --one-file-system "$root"
    mv "$base/fresh" "$root"
}

made() { [ "$(cat "$root/etc/packaging-stamp" 2>/dev/null)" = "$packages" ]; }

case ${1:-} in
    make)
        exec 9>"$base/lock"
        flock 9 # two copies side by side: the second waits and finds it done
        made || make
        rm -f "$base/why"
        echo "  packaging: target/packaging/root"
        ;;
    have) made && [ -x "$root/usr/bin/$2" ] ;;
    run) shift && inside "$@" ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac
