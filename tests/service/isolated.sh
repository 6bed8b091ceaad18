#!/bin/sh
# isolated.sh try TREE VIPWARD    can machines be had here? Says why not.
# isolated.sh run COMMAND ...     runs it in namespaces of its own
#
# Network, mounts and process ids are the command's own, so that what it starts
# and mounts goes when it ends, however that happens. $GROUP is a control group
# (version 2) for it; groups of their own have no namespace that takes them
# along, so they are removed from outside: after the command, and those of a run
# that was killed by the next one.
set -u
PATH=$PATH:/usr/sbin:/sbin
LONGEST=600 # seconds, for everything
prefix=vipward-test-

# Groups whose run is over. One that has processes refuses to go.
remove_groups() {
    unshare --mount --propagation private sh -c '
        mount -t tmpfs none /run && mkdir /run/groups &&
        mount -t cgroup2 none /run/groups && cd /run/groups || exit
        for group in "$1"*; do
            pid=${group#"$1"}
            [ -d "$group" ] || continue
            [ "$pid" = "$2" ] || [ ! -d "/proc/$pid" ] || continue
            for _ in 1 2 3 4 5; do
                find "$group" -depth -type d -exec rmdir {} + && break
                sleep 0.2 # the last process is just going
            done
        done' sh $prefix $$ 2>/dev/null
}

# Everything that goes by itself ends with this shell.
isolated() {
    setpriv --pdeathsig KILL \
        unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
        sh "$0" "$@" &
    inside=$!
    # It waits for others' ends on these signals, and would be left behind.
    trap 'kill -KILL $inside' INT TERM HUP
    wait $inside
    status=$?
    remove_groups
    return $status
}

prepare() {
    set -e
    mount -t tmpfs none /run
    mkdir /run/netns
    mount -t sysfs none /sys
    mount -t cgroup2 none /sys/fs/cgroup
    export GROUP=/sys/fs/cgroup/$1
    mkdir "$GROUP"
    ip link set lo up
    set +e
}

# An overlay, a group in ours, a container, our program inside.
try() {
    set -e
    mkdir /run/try /run/try/up /run/try/work /run/try/root "$GROUP/try"
    mount -t overlay none -o "lowerdir=$1,upperdir=/run/try/up,workdir=/run/try/work" /run/try/root
    cp "$2" /run/try/root/usr/bin/vipward
    chroot /run/try/root /usr/bin/vipward --version
    for loader in "$1"/lib64/ld-linux-x86-64.so.2 "$1"/lib/ld-linux-aarch64.so.1; do
        [ ! -e "$loader" ] || break
    done
    libraries=$(ls -d "$1"/usr/lib/*-linux-gnu)
    ip netns add try
    echo 0 >"$GROUP/try/cgroup.procs"
    "$loader" --library-path "$libraries/systemd:$libraries" "$1/usr/bin/systemd-nspawn" \
        -D /run/try/root --quiet --register=no --keep-unit --pipe \
        --network-namespace-path=/run/netns/try --capability=CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_SYS_RESOURCE \
        --resolv-conf=off --timezone=off --link-journal=no /bin/true
    command -v nsenter
}

mode=$1
shift
case $mode in
    try) isolated inside-try $prefix$$ "$@" >/dev/null ;;
    run) isolated inside-run $prefix$$ "$@" ;;
    inside-try)
        prepare "$1"
        shift
        try "$@"
        ;;
    inside-run)
        prepare "$1"
        shift
        trap 'exit 130' INT TERM HUP
        timeout --foreground -k 5 $LONGEST "$@" &
        wait $!
        ;;
esac
