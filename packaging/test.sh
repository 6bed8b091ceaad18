#!/usr/bin/env bash
# Builds the packages as they are released, and judges them: lintian, rpmlint, the
# scriptlets of the .rpm, shellcheck, then both on booted hosts. Minutes, of
# which most is the release build. Arguments go to packaging/build.sh.
#
# What cannot run here is named. Fails if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
out=$target/packages
failed=0
step() { # a name, a command
    local name=$1
    shift
    if "$@"; then echo "ok: $name"; else echo "FAILED: $name" && failed=1; fi
}

packaging/tools.sh make
rm -rf "$out"
packaging/build.sh "$@" || exit 1
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What is upgraded to: the same program, under another number.
packaging/build.sh --binary "$target/release/vipward" "$@" --version "$version+next" || exit 1

# shellcheck disable=SC2317 # called by `step`
tool() { packaging/tools.sh run "$@"; }
rpm=$out/vipward-$version-1.$(uname -m).rpm
next=$out/vipward-$version+next-1.$(uname -m).rpm

# Installed, upgraded and erased in a system without a running service manager.
scriptlets() {
    # shellcheck disable=SC2016,SC2317 # the inner shell's; called by `step`
    tool bash -euc '
        config=/etc/vipward/config.yaml
        rpm -i --nodeps "$1" 2>&1 | grep "nothing was started"
        id vipward >/dev/null
        [ "$(stat -c "%U %a" /var/lib/vipward)" = "vipward 700" ]
        systemctl is-enabled vipward.service | grep -qx enabled
        rpm -V --nodeps vipward
        echo "# edited" >>$config
        rpm -U --nodeps "$2"
        rpm -q vipward | grep -q next
        tail -n 1 $config | grep -qx "# edited"
        rpm -e vipward 2>/dev/null
        ! test -e /usr/bin/vipward && ! test -e /run/vipward
        ! test -e /etc/systemd/system/multi-user.target.wants/vipward.service
        tail -n 1 $config.rpmsave | grep -qx "# edited"' sh "$rpm" "$next"
}

# What both packages hold is the same but for what each format has of its own.
# shellcheck disable=SC2317 # called by `step`
files() {
    diff <(dpkg-deb --fsys-tarfile "$out/vipward_$version-1_"*.deb | tar -t | sed -n 's,^\.\(/.*[^/]\)$,\1,p' |
        grep -vE 'lintian|/changelog|/copyright|/zsh/' | sort) \
        <(tool rpm -qlp "$rpm" |
            grep -vE '/LICENSE|/CHANGELOG|/zsh/|^(/etc|/usr/share(/doc)?)/vipward(/examples)?$' | sort)
}

if packaging/tools.sh have lintian; then
    # Of the other one only the number is new.
    for deb in "$out/vipward_$version-1_"*.deb; do
        step "lintian ${deb##*/}" tool lintian --fail-on error,warning --allow-root "$deb"
    done
    step "rpmlint" tool rpmlint --config "$PWD/packaging/rpm/rpmlint.toml" "$rpm"
    step "the files of the .rpm" files
    step "the scriptlets of the .rpm" scriptlets
    step "shellcheck" tool shellcheck packaging/{build,tools,test}.sh packaging/debian/{pre,post}{inst,rm}
else
    echo "skipped: lintian, rpmlint, the scriptlets of the .rpm, shellcheck: $(cat "$target/packaging/why")"
fi
VIPWARD_PACKAGES=$out step "on booted hosts" cargo test --locked --test packages
exit "$failed"
