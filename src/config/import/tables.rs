//! The words that stand for a setting of their own, and what becomes of each.

/// What becomes of a line by its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Translated, by itself or together with others.
    Used,
    /// There is nothing to do, and why.
    Idle(&'static str),
    /// To be done by hand: what.
    Left(&'static str),
}

use Meaning::{Idle, Left, Used};

pub(super) type Table = [(&'static str, Meaning)];

const MAIL: Meaning = Left(
    "vipward sends no mail: have a hook `change` send it, or an alarm on what `vipward status --json` says",
);
const LVS: Meaning = Left(
    "load balancing (LVS), which vipward does not do: keep keepalived for it, started as \
     `keepalived --check`, with the vrrp blocks removed from its file",
);
const HOST: Meaning =
    Left("belongs to this host and does not move: put it into the host's network configuration");
const OBSERVED: Meaning =
    Left("vipward has no SNMP and no D-Bus: read `vipward status --json` instead");
const FIFO: Meaning =
    Left("vipward writes no FIFO: a hook `change` is called with the same four words, in order");
const UNIT: Meaning = Idle(
    "not needed: vipward asks for real-time scheduling and locked memory itself; limits belong into \
     its unit (`systemctl edit vipward`)",
);
const BUFFERS: Meaning =
    Idle("not needed: vipward sizes its buffers, and reads again after an overrun");
const RUNTIME: Meaning = Idle("of keepalived's own files and processes; vipward has its own");
const NAMESPACE: Meaning = Left(
    "start vipward inside of the network namespace (`NetworkNamespacePath=` in its unit) and give it \
     directories of its own (`--runtime-dir`, `--state-dir`)",
);
const FIREWALL: Meaning =
    Idle("not needed: vipward accepts what comes to its addresses and writes no firewall rules");
const LOWER_PRIO: Meaning = Idle(
    "not needed: vipward answers a lesser advertisement and announces again, at most once a second",
);
const PARTING: Meaning =
    Idle("not needed: vipward always sends a last advertisement when it gives way");
const PACE: Meaning = Left(
    "vipward spreads its announcements by itself (0, 20, 100, 300, 1000 ms) and has no setting for \
     it: lower `announce: { repeat: ... }` if a switch drops them",
);
const POLLING: Meaning = Left(
    "vipward follows the kernel's carrier events only: test that it notices a pulled cable with this \
     network card",
);
const STRICT: Meaning = Left(
    "vipward has no strict mode. keepalived's makes it drop packets to the virtual addresses where \
     its priority is not 255: vipward accepts them always",
);
const FRESH: Meaning = Idle(
    "not needed: an advertisement whose list differs is accepted, and `status` shows the difference",
);
const UNICAST_SOURCE: Meaning = Idle("not needed: vipward hears its `unicast_peers` only");
const RELOAD: Meaning =
    Idle("not needed: `vipward reload` judges the file first, and a bad one changes nothing");
const BFD: Meaning =
    Left("vipward has no BFD: a check of the path, or a shorter `advert_interval`, may do");

pub(super) static TOP: [(&str, Meaning); 34] = [
    ("global_defs", Used),
    ("vrrp_instance", Used),
    ("vrrp_sync_group", Used),
    ("vrrp_script", Used),
    ("track_file", Used),
    ("vrrp_track_file", Used),
    ("vrrp_track_process", Used),
    ("virtual_server", LVS),
    ("virtual_server_group", LVS),
    ("SSL", LVS),
    ("static_ipaddress", HOST),
    ("static_routes", HOST),
    ("static_rules", HOST),
    ("track_group", HOST),
    ("bfd_instance", BFD),
    ("garp_group", PACE),
    ("linkbeat_interfaces", POLLING),
    ("linkbeat_use_polling", POLLING),
    (
        "interface_up_down_delays",
        Left(
            "vipward acts on a lost link at once, and `settle` waits after its return: write that in the \
             instances",
        ),
    ),
    ("net_namespace", NAMESPACE),
    ("net_namespace_ipvs", LVS),
    ("namespace_with_ipsets", FIREWALL),
    ("instance", NAMESPACE),
    ("use_pid_dir", RUNTIME),
    ("child_wait_time", RUNTIME),
    ("config_save_dir", RUNTIME),
    ("tmp_config_directory", RUNTIME),
    ("random_seed", Idle("only for `${_RANDOM}`")),
    (
        "include_check",
        Idle("only for `include`, which was followed here"),
    ),
    ("process_names", RUNTIME),
    ("process_name", RUNTIME),
    ("vrrp_process_name", RUNTIME),
    ("checker_process_name", RUNTIME),
    ("bfd_process_name", RUNTIME),
];

/// In `global_defs`; what stands in `TOP` may stand here too.
pub(super) static GLOBAL: [(&str, Meaning); 112] = [
    ("router_id", Used),
    ("vrrp_version", Used),
    ("vrrp_garp_master_delay", Used),
    ("vrrp_garp_master_repeat", Used),
    ("vrrp_garp_master_refresh", Used),
    ("vrrp_min_garp", Used),
    ("vrrp_startup_delay", Used),
    ("vrrp_down_timer_adverts", Used),
    ("vrrp_mcast_group4", Used),
    ("vrrp_mcast_group6", Used),
    ("script_user", Used),
    (
        "enable_script_security",
        Idle("always so here: a script that others could change is refused"),
    ),
    ("notification_email", MAIL),
    ("notification_email_from", MAIL),
    ("smtp_server", MAIL),
    ("smtp_helo_name", MAIL),
    ("smtp_connect_timeout", MAIL),
    ("smtp_alert", MAIL),
    ("smtp_alert_vrrp", MAIL),
    ("smtp_alert_checker", MAIL),
    ("no_email_faults", MAIL),
    ("no_checker_emails", MAIL),
    ("checker_log_all_failures", LVS),
    (
        "lvs_id",
        Idle("an old word for `router_id`, which keepalived does not read"),
    ),
    ("default_interface", HOST),
    ("lvs_sync_daemon", LVS),
    ("lvs_timeouts", LVS),
    ("lvs_flush", LVS),
    ("lvs_flush_on_stop", LVS),
    ("lvs_flush_onstop", LVS),
    ("lvs_notify_fifo", LVS),
    ("lvs_notify_fifo_script", LVS),
    ("lvs_netlink_cmd_rcv_bufs", LVS),
    ("lvs_netlink_cmd_rcv_bufs_force", LVS),
    ("lvs_netlink_monitor_rcv_bufs", LVS),
    ("lvs_netlink_monitor_rcv_bufs_force", LVS),
    ("rs_init_notifies", LVS),
    ("vrrp_garp_lower_prio_delay", LOWER_PRIO),
    ("vrrp_garp_lower_prio_repeat", LOWER_PRIO),
    ("vrrp_garp_master_refresh_repeat", PACE),
    ("vrrp_garp_interval", PACE),
    ("vrrp_gna_interval", PACE),
    (
        "vrrp_garp_extra_if",
        Idle("not needed: vipward announces each address on its own interface, again and again"),
    ),
    ("vrrp_lower_prio_no_advert", LOWER_PRIO),
    ("vrrp_higher_prio_send_advert", PARTING),
    ("vrrp_iptables", FIREWALL),
    ("vrrp_ipsets", FIREWALL),
    ("nftables", FIREWALL),
    ("nftables_priority", FIREWALL),
    ("nftables_counters", FIREWALL),
    ("nftables_ifindex", FIREWALL),
    ("nftables_ipvs", LVS),
    ("nftables_ipvs_priority", LVS),
    ("nftables_ipvs_start_fwmark", LVS),
    ("disable_local_igmp", FIREWALL),
    ("vrrp_check_unicast_src", UNICAST_SOURCE),
    ("vrrp_skip_check_adv_addr", FRESH),
    ("vrrp_strict", STRICT),
    ("vrrp_notify_priority_changes", FIFO),
    ("max_auto_priority", UNIT),
    ("min_auto_priority_delay", UNIT),
    ("vrrp_priority", UNIT),
    ("checker_priority", LVS),
    ("bfd_priority", BFD),
    ("vrrp_no_swap", UNIT),
    ("checker_no_swap", LVS),
    ("bfd_no_swap", BFD),
    ("vrrp_cpu_affinity", UNIT),
    ("checker_cpu_affinity", LVS),
    ("bfd_cpu_affinity", BFD),
    ("vrrp_rt_priority", UNIT),
    ("checker_rt_priority", LVS),
    ("bfd_rt_priority", BFD),
    ("vrrp_rlimit_rttime", UNIT),
    ("vrrp_rlimit_rtime", UNIT),
    ("checker_rlimit_rttime", LVS),
    ("bfd_rlimit_rttime", BFD),
    ("snmp_socket", OBSERVED),
    ("enable_snmp_keepalived", OBSERVED),
    ("enable_snmp_vrrp", OBSERVED),
    ("enable_snmp_checker", OBSERVED),
    ("enable_snmp_rfc", OBSERVED),
    ("enable_snmp_rfcv2", OBSERVED),
    ("enable_snmp_rfcv3", OBSERVED),
    ("enable_traps", OBSERVED),
    ("enable_dbus", OBSERVED),
    ("dbus_service_name", OBSERVED),
    ("dbus_no_interface_name", OBSERVED),
    ("notify_fifo", FIFO),
    ("notify_fifo_script", FIFO),
    ("vrrp_notify_fifo", FIFO),
    ("vrrp_notify_fifo_script", FIFO),
    ("fifo_write_vrrp_states_on_reload", FIFO),
    (
        "dynamic_interfaces",
        Idle("always so here: an interface may come and go"),
    ),
    ("vrrp_netlink_cmd_rcv_bufs", BUFFERS),
    ("vrrp_netlink_cmd_rcv_bufs_force", BUFFERS),
    ("vrrp_netlink_monitor_rcv_bufs", BUFFERS),
    ("vrrp_netlink_monitor_rcv_bufs_force", BUFFERS),
    ("process_monitor_rcv_bufs", BUFFERS),
    ("process_monitor_rcv_bufs_force", BUFFERS),
    ("vrrp_rx_bufs_policy", BUFFERS),
    ("vrrp_rx_bufs_multiplier", BUFFERS),
    ("umask", RUNTIME),
    (
        "log_unknown_vrids",
        Idle("always so here: `status` counts them"),
    ),
    ("vmac_prefix", Idle("vipward names its own interfaces")),
    ("vmac_addr_prefix", Idle("vipward names its own interfaces")),
    ("reload_check_config", RELOAD),
    ("reload_time_file", RELOAD),
    ("reload_repeat", RELOAD),
    ("reload_file", RELOAD),
    ("data_use_instance", RUNTIME),
    (
        "startup_script",
        Left("make it a unit that vipward's is ordered after, or `ExecStartPre=` in it"),
    ),
];

/// More of `global_defs`.
pub(super) static GLOBAL_TOO: [(&str, Meaning); 4] = [
    ("startup_script_timeout", Left("goes with `startup_script`")),
    (
        "shutdown_script",
        Left("make it `ExecStopPost=` in vipward's unit (`systemctl edit vipward`)"),
    ),
    (
        "shutdown_script_timeout",
        Left("goes with `shutdown_script`"),
    ),
    ("v3_checksum_as_v2", Used),
];

pub(super) static INSTANCE: [(&str, Meaning); 74] = [
    ("interface", Used),
    ("virtual_router_id", Used),
    ("priority", Used),
    ("version", Used),
    ("advert_int", Used),
    ("down_timer_adverts", Used),
    ("state", Used),
    ("nopreempt", Used),
    ("preempt_delay", Used),
    ("preempt", Idle("so by default")),
    ("unicast_src_ip", Used),
    ("mcast_src_ip", Used),
    ("mcast_dst_ip", Used),
    ("unicast_peer", Used),
    ("unicast_ttl", Used),
    ("authentication", Used),
    ("auth_hmac", Used),
    ("use_vmac", Used),
    ("virtual_ipaddress", Used),
    ("virtual_ipaddress_excluded", Used),
    ("virtual_routes", Used),
    ("virtual_rules", Used),
    ("track_interface", Used),
    ("track_script", Used),
    ("track_file", Used),
    ("track_process", Used),
    ("track_bfd", BFD),
    ("notify_master", Used),
    ("notify_backup", Used),
    ("notify_fault", Used),
    ("notify", Used),
    ("notify_stop", STOP),
    ("notify_deleted", DELETED),
    (
        "notify_master_rx_lower_pri",
        Left(
            "vipward has no hook for a lesser advertisement; `status` shows two Actives as a conflict",
        ),
    ),
    ("notify_priority_changes", FIFO),
    ("garp_master_delay", Used),
    ("garp_master_repeat", Used),
    ("garp_master_refresh", Used),
    ("garp_master_refresh_repeat", PACE),
    ("garp_lower_prio_delay", LOWER_PRIO),
    ("garp_lower_prio_repeat", LOWER_PRIO),
    (
        "garp_extra_if",
        Idle("not needed: vipward announces each address on its own interface, again and again"),
    ),
    (
        "garp_extra_if_vmac",
        Idle("not needed: vipward announces each address on its own interface, again and again"),
    ),
    ("lower_prio_no_advert", LOWER_PRIO),
    ("higher_prio_send_advert", PARTING),
    ("v3_checksum_as_v2", Used),
    (
        "old_unicast_checksum",
        Left(
            "the checksum of keepalived before 1.3.7 is accepted and not sent: bring the other hosts up \
             to date first",
        ),
    ),
    (
        "native_ipv6",
        Idle("not needed: the addresses say which family it is"),
    ),
    (
        "accept",
        Idle("always so here: packets to the addresses are accepted"),
    ),
    (
        "no_accept",
        Left("vipward always accepts packets to its addresses: drop them with a firewall rule"),
    ),
    ("strict_mode", STRICT),
    (
        "dont_track_primary",
        Left(
            "vipward always gives the addresses up when the instance's own interface is down: nobody \
             could be heard there",
        ),
    ),
    (
        "track_src_ip",
        Left(
            "vipward has no such check: `status` shows errors of sending when the `source` is gone",
        ),
    ),
    ("check_unicast_src", UNICAST_SOURCE),
    (
        "unicast_fault_no_peer",
        Idle("not needed: what is written is what is done"),
    ),
    ("skip_check_adv_addr", FRESH),
    (
        "promote_secondaries",
        Idle("not needed: vipward sets it where an address needs it"),
    ),
    ("smtp_alert", MAIL),
    ("debug", Idle("without meaning in keepalived too")),
    ("kernel_rx_buf_size", BUFFERS),
    ("linkbeat_use_polling", POLLING),
    (
        "vmac_xmit_base",
        Left("goes with `use_vmac`: vipward chooses itself from which interface it sends"),
    ),
    (
        "use_vmac_addr",
        Left("vipward has no virtual MAC for single addresses"),
    ),
    (
        "use_ipvlan",
        Left("vipward has no ipvlan: an address is on the interface itself"),
    ),
    ("vrf", Left("write the `interface` that is in the VRF")),
    ("lvs_sync_daemon_interface", LVS),
    ("lvs_sync_daemon_inteface", LVS),
    (
        "timer_expired_backup",
        Idle("always so here: after a stall the agent listens before it speaks"),
    ),
    ("garp_interval", PACE),
    ("gna_interval", PACE),
    (
        "fault_init_exit_time",
        Idle("not needed: what is in fault begins again when the reason is gone"),
    ),
    (
        "fault_init_exit_delay",
        Idle("not needed: what is in fault begins again when the reason is gone"),
    ),
    ("rogue_counter", Idle("without meaning in keepalived too")),
    ("vrrp_rlimit_rttime", UNIT),
];

pub(super) const STOP: Meaning = Left(
    "no hook of its own: `change` is told of a stop (STOP), and `before_release` is awaited before a \
     planned one",
);
pub(super) const DELETED: Meaning =
    Left("no hook of its own: `change` is told STOP when a reload removes an instance");

pub(super) static GROUP: [(&str, Meaning); 17] = [
    ("group", Used),
    ("track_interface", Used),
    ("track_script", Used),
    ("track_file", Used),
    ("track_process", Used),
    ("track_bfd", BFD),
    ("notify_master", Used),
    ("notify_backup", Used),
    ("notify_fault", Used),
    ("notify", Used),
    ("notify_stop", STOP),
    ("notify_deleted", DELETED),
    ("notify_priority_changes", FIFO),
    ("smtp_alert", MAIL),
    (
        "global_tracking",
        Idle("always so here: what is tracked by one member counts for all"),
    ),
    (
        "sync_group_tracking_weight",
        Idle("always so here: a weight in one member lowers the priority of all"),
    ),
    (
        "state",
        Idle("not needed: the election decides who starts as Active"),
    ),
];

pub(super) static SCRIPT: [(&str, Meaning); 8] = [
    ("script", Used),
    ("interval", Used),
    ("timeout", Used),
    ("weight", Used),
    ("rise", Used),
    ("fall", Used),
    ("user", Used),
    ("init_fail", Used),
];

/// What becomes of `word`; nothing when it is not known.
pub(super) fn meaning(tables: &[&Table], word: &str) -> Option<Meaning> {
    let mut all = tables.iter().flat_map(|table| table.iter());
    let found = all.find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning)
}

/// What is said of a word that no table has.
pub(super) const UNKNOWN: &str = "not known here: keepalived may not know it either (`keepalived --config-test` tells), or it is newer \
     than this import";
