#!/usr/bin/env bash
# Makes the packages, a .deb and a .rpm, below target/packages:
#
#   packaging/build.sh [--binary FILE] [--version VERSION] [--out DIR] [--quick] [deb] [rpm]
#
# --quick leaves compression and the licences of others out, for trials. Both are made of one staged tree. Needs a Rust toolchain, or the program given
# by --binary; dpkg-deb for one, rpmbuild for the other. A format whose program
# is not here is left out with a sentence, and is a failure only when asked for by name;
# packaging/tools.sh provides rpmbuild on Debian. DEBFULLNAME and DEBEMAIL say who
# the maintainer is. The same sources give the same packages.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/packages
binary=""
version=""
formats=""
compression=-Zxz
quick=""
while [ $# -gt 0 ]; do
    case $1 in
        --binary) binary=$2 && shift 2 ;;
        --version) version=$2 && shift 2 ;;
        --out) out=$2 && shift 2 ;;
        --quick) quick=yes compression=-Znone && shift ;;
        deb | rpm) formats="$formats $1" && shift ;;
        *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
    esac
done
wanted=${formats:-deb rpm}

own=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
version=${version:-$own}
maintainer="${DEBFULLNAME:-vipward maintainers} <${DEBEMAIL:-maintainers@vipward.invalid}>"
# The time of everything inside: that of the sources.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
umask 022

if [ -z "$binary" ]; then
    # Nothing in the program asks for that time, and what is written in C would be
    # compiled anew after every commit.
    env -u SOURCE_DATE_EPOCH cargo build --release --locked
    binary=$target/release/vipward
fi
[ "$("$binary" --version)" = "vipward $own" ] || {
    echo "packaging/build.sh: $binary is not vipward $own" >&2
    exit 1
}

# put MODE FILE TO
put() { install -D -m "$1" "$2" "$tree/$3"; }

# Every crate of the program with its licence, then each text once.
third_party() {
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry/src name crate text sum
    cargo tree --locked --offline -e normal --prefix none -f '{p} {l}' |
        sed -E 's/ \((proc-macro|\*)\)//g' | grep -vE '^vipward(-core)? ' | sort -u >"$work/crates"
    printf 'The program contains these crates:\n\n'
    cat "$work/crates"
    mkdir "$work/texts"
    while read -r name crate _; do
        for text in "$registry"/*/"$name-${crate#v}"/{LICEN,COPY,NOTICE,UNLICEN}*; do
            [ -f "$text" ] || continue
            sum=$(sha256sum <"$text" | cut -d' ' -f1)
            [ -e "$work/texts/$sum" ] || cp "$text" "$work/texts/$sum"
            echo "$name" >>"$work/texts/$sum.of"
        done
    done <"$work/crates"
    for text in "$work/texts"/*.of; do
        printf '\n%s\n%s\n\n' "$(printf '=%.0s' {1..72})" "$(sort -u "$text" | paste -sd' ')"
        cat "${text%.of}"
    done
}

# What is in both packages.
stage() {
    tree=$1
    put 755 "$binary" usr/bin/vipward
    strip --strip-unneeded --remove-section=.comment "$tree/usr/bin/vipward"
    for unit in vipward.service vipward-runner.service; do
        put 644 "systemd/$unit" "usr/lib/systemd/system/$unit"
    done
    put 644 packaging/vipward.sysusers usr/lib/sysusers.d/vipward.conf
    put 644 packaging/vipward.tmpfiles usr/lib/tmpfiles.d/vipward.conf
    put 644 config.example.yaml etc/vipward/config.yaml

    "$binary" schema >"$work/schema.json"
    put 644 "$work/schema.json" usr/share/vipward/schema.json
    # For Grafana and Prometheus.
    local file
    for file in grafana-dashboard.json alerts.yaml; do
        [ ! -e "packaging/$file" ] || put 644 "packaging/$file" "usr/share/vipward/$file"
    done

    "$binary" manual "$work/man"
    for file in "$work"/man/*; do
        gzip -9n <"$file" >"$work/page"
        put 644 "$work/page" "usr/share/man/man${file##*.}/${file##*/}.gz"
    done
    for shell in bash:bash-completion/completions/vipward zsh:zsh/vendor-completions/_vipward \
        fish:fish/vendor_completions.d/vipward.fish; do
        "$binary" completions "${shell%%:*}" >"$work/completions"
        put 644 "$work/completions" "usr/share/${shell#*:}"
    done

    local doc=usr/share/doc/vipward
    for file in README.md docs/{installing,configuration,migrating-from-keepalived,failure-modes,threat-model,vocabulary}.md; do
        # They lie side by side there.
        sed 's,](docs/,](,g; s,](\.\./,](,g' "$file" >"$work/document"
        put 644 "$work/document" "$doc/${file##*/}"
    done
    put 644 config.example.yaml "$doc/examples/config.yaml"
    if [ -z "$quick" ]; then
        third_party >"$work/third-party"
        put 644 "$work/third-party" "$doc/third-party-licences.txt"
    fi
}

# Times and modes that do not depend on when and where.
settle() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
}

# The libraries, as Debian's own tool finds them; or, where that is not, the
# symbols' newest version, which is what it would find.
libraries() {
    mkdir -p "$work/shlibs/debian"
    printf 'Source: vipward\n\nPackage: vipward\nArchitecture: any\n' >"$work/shlibs/debian/control"
    if command -v dpkg-shlibdeps >/dev/null; then
        (cd "$work/shlibs" && dpkg-shlibdeps -O "$1" 2>/dev/null) | sed 's/^shlibs:Depends=//'
    else
        local newest
        newest=$(grep -aoE 'GLIBC_2\.[0-9]+' "$1" | sort -uV | tail -n 1)
        echo "libc6 (>= ${newest#GLIBC_}), libgcc-s1"
    fi
}

deb() {
    local tree=$work/deb architecture name file doc
    architecture=$(dpkg --print-architecture)
    cp -a "$work/tree" "$tree"
    doc=$tree/usr/share/doc/vipward
    install -m 644 packaging/debian/copyright "$doc/copyright"
    gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
    {
        if [ "$version" != "$own" ]; then
            printf 'vipward (%s-1) unstable; urgency=medium\n\n  * Not released.\n\n' "$version"
            printf ' -- @MAINTAINER@  @DATE@\n\n'
        fi
        cat packaging/debian/changelog
    } | sed "s/@MAINTAINER@/$maintainer/; s/@DATE@/$(date -uRd "@$SOURCE_DATE_EPOCH")/" |
        gzip -9n >"$doc/changelog.Debian.gz"
    mkdir -p "$tree/DEBIAN" "$tree/usr/share/lintian/overrides"
    install -m 644 packaging/debian/lintian-overrides "$tree/usr/share/lintian/overrides/vipward"
    for file in preinst postinst prerm postrm; do
        install -m 755 "packaging/debian/$file" "$tree/DEBIAN/$file"
    done
    echo /etc/vipward/config.yaml >"$tree/DEBIAN/conffiles"
    sed -e "s/@VERSION@/$version-1/; s/@ARCHITECTURE@/$architecture/; s/@MAINTAINER@/$maintainer/" \
        -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$tree" | cut -f1)/" \
        -e "s/@LIBRARIES@/$(libraries "$tree/usr/bin/vipward")/" \
        packaging/debian/control.in >"$tree/DEBIAN/control"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -type f ! -path ./etc/vipward/config.yaml \
        -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) >"$tree/DEBIAN/md5sums"
    settle "$tree"
    name=vipward_$version-1_$architecture.deb
    dpkg-deb --root-owner-group "$compression" --build "$tree" "$work/$name" >/dev/null
    # Whole or not at all, for whoever looks meanwhile.
    mv "$work/$name" "$out/$name"
    echo "$out/$name"
}

# rpmbuild here, or in the tree of packaging/tools.sh.
rpm_here() {
    if command -v rpmbuild >/dev/null; then
        "$@"
    else
        packaging/tools.sh run "$@"
    fi
}

rpm() {
    local tree=$work/rpm
    cp -a "$work/tree" "$tree"
    install -m 644 LICENSE-MIT LICENSE-APACHE CHANGELOG.md "$tree/usr/share/doc/vipward/"
    mkdir -p "$tree/usr/share/zsh/site-functions"
    mv "$tree/usr/share/zsh/vendor-completions/_vipward" "$tree/usr/share/zsh/site-functions/"
    rmdir "$tree/usr/share/zsh/vendor-completions"
    settle "$tree"
    {
        # The directories that are ours alone.
        (cd "$tree" && find . -type d -path '*/vipward*' -printf '%%dir /%P\n')
        (cd "$tree" && find . -type f -printf '/%P\n') | sed -E \
            -e 's,^/etc/vipward/config.yaml$,%config(noreplace) &,' \
            -e 's,^/usr/share/doc/vipward/(LICENSE|third).*,%license &,' \
            -e 's,^/usr/share/doc/vipward/.*,%doc &,'
    } | LC_ALL=C sort >"$work/files"
    rpm_here rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" --define "_rpmdir $out" \
        --define "_rpmfilename vipward-%{version}-%{release}.%{arch}.rpm" \
        --define "staged $tree" --define "file_list $work/files" \
        --define "package_version $version" --define "maintainer $maintainer" \
        --define "date $(LC_ALL=C date -ud "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" --define "use_source_date_epoch_as_buildtime 1" \
        --define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost vipward" \
        --define "_unitdir /usr/lib/systemd/system" \
        "$PWD/packaging/rpm/vipward.spec"
    echo "$out/vipward-$version-1.$(uname -m).rpm"
}

available() {
    case $1 in
        deb) command -v dpkg-deb >/dev/null ;;
        rpm) command -v rpmbuild >/dev/null || packaging/tools.sh have rpmbuild ;;
    esac
}

stage "$work/tree"
for format in $wanted; do
    if available "$format"; then
        "$format"
    else
        echo "packaging/build.sh: no $format: its program is not here (packaging/tools.sh)" >&2
        [ -z "$formats" ] || exit 1
    fi
done
