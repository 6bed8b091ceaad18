//! Checks of this host and its neighbours, each with its options.

use super::kind::Kind;
use super::text::{absolute, by};
use crate::config::address;
use crate::config::command::optional;
use crate::config::fault::{Finding, Findings, Place};
use crate::config::read::{self, Field, Section};
use crate::config::work::probe::{
    Average, DiskProbe, DnsProbe, PressureProbe, ProbeKind, ProcessProbe, Resource, Stalled,
};
use crate::config::work::{measure, parse};

/// With the place of its target.
type Found = Option<(ProbeKind, Place)>;

/// More processes than one host has.
pub(in crate::config) const COUNT_MAX: u32 = 1_000_000;
/// Errors a second; a link that has more is no link.
pub(in crate::config) const ERRORS_MAX: u32 = 1_000_000;

fn process(section: &Section, out: &mut Findings) -> Found {
    let name = section.field("process", out, |node| {
        by(node, "the name of a process", measure::process)
    });
    let pid_file = section.field("pid_file", out, absolute);
    let count = |key: &str, out: &mut Findings| {
        section.field(key, out, |node| {
            read::number(node, &format!("`{key}`"), 0..=COUNT_MAX)
        })
    };
    let (min, max) = (count("min", out), count("max", out));
    let mut sound = true;
    if let (Some(_), Some(count)) = (pid_file.given(), min.given().or(max.given())) {
        out.fault(
            Finding::at(count.place, "a pid file names one process", "remove it")
                .help("or leave out `pid_file`, to count those of that name"),
        );
        sound = false;
    }
    let least = match max.given() {
        Some(max) if max.value == 0 => min.or(0)?,
        _ => min.or(1)?,
    };
    if let Some(max) = max.given().filter(|max| max.value < least) {
        let title = format!("at least {least} and at most {} cannot be", max.value);
        let label = format!("write {least} or more");
        out.fault(Finding::at(max.place, title, label));
        sound = false;
    }
    let place = name.given().map(|at| at.place);
    let place = place.or(pid_file.given().map(|at| at.place))?;
    let probe = ProcessProbe {
        name: optional(&name)?,
        pid_file: optional(&pid_file)?,
        min: least,
        max: optional(&max)?,
    };
    sound.then_some((ProbeKind::Process(probe), place))
}

fn unit(section: &Section, out: &mut Findings) -> Found {
    let unit = section.field("systemd", out, |node| {
        by(node, "the name of a unit", measure::unit)
    });
    let unit = unit.given()?;
    let name = unit.value.clone();
    Some((ProbeKind::Unit { name }, unit.place))
}

fn arp(section: &Section, place: Place, out: &mut Findings) -> Found {
    let target = section.field("arp", out, address::host);
    let interface = section.field("interface", out, address::interface);
    if section.lacks("interface") {
        out.fault(
            Finding::at(place, "`interface` is missing", "for this check").help(
                "write `{ arp: 192.0.2.254, interface: eth0 }`: neighbours are asked on a link",
            ),
        );
    }
    let target = target.given()?;
    let probe = ProbeKind::Arp {
        target: target.value,
        interface: interface.given()?.value,
    };
    Some((probe, target.place))
}

fn ping(section: &Section, out: &mut Findings) -> Found {
    let target = section.field("ping", out, |node| {
        by(node, "an address or a name", parse::ping)
    });
    let interface = section.field("interface", out, address::interface);
    let target = target.given()?;
    let probe = ProbeKind::Ping {
        target: target.value.clone(),
        interface: optional(&interface)?,
    };
    Some((probe, target.place))
}

fn dns(section: &Section, place: Place, out: &mut Findings) -> Found {
    let name = section.field("dns", out, |node| by(node, "a name", parse::domain));
    let server = section.field("server", out, |node| {
        by(node, "the address of a name server", parse::name_server)
    });
    let expect = section.field("expect", out, address::host);
    if section.lacks("server") {
        out.fault(
            Finding::at(place, "`server` is missing", "for this check").help(
                "write `{ dns: www.example.net, server: 127.0.0.1 }`: it is that server that is checked",
            ),
        );
    }
    let name = name.given()?;
    let probe = DnsProbe {
        name: name.value.clone(),
        server: server.given()?.value,
        expect: optional(&expect)?,
    };
    Some((ProbeKind::Dns(probe), name.place))
}

fn disk(section: &Section, place: Place, out: &mut Findings) -> Found {
    let path = section.field("disk", out, absolute);
    let free = section.field("free", out, |node| {
        by(node, "a percentage or a size", measure::room)
    });
    let inodes = section.field("inodes", out, |node| {
        by(node, "a percentage", measure::percent)
    });
    if section.lacks("free") && section.lacks("inodes") {
        out.fault(
            Finding::at(place, "how much must be free is missing", "for this check")
                .help("write `{ disk: /var/lib/db, free: 10% }`, `free: 5GiB` or `inodes: 5%`"),
        );
        return None;
    }
    let path = path.given()?;
    let probe = DiskProbe {
        path: path.value.clone(),
        free: optional(&free)?,
        inodes: optional(&inodes)?,
    };
    Some((ProbeKind::Disk(probe), path.place))
}

fn pressure(section: &Section, place: Place, out: &mut Findings) -> Found {
    let resource = section.field("pressure", out, |node| {
        let choices = Resource::ALL.map(|resource| (resource.name(), resource));
        read::one_of(node, "`pressure`", &choices)
    });
    let stalled = section.field("stalled", out, |node| {
        let choices = Stalled::ALL.map(|stalled| (stalled.name(), stalled));
        read::one_of(node, "`stalled`", &choices)
    });
    let average = section.field("average", out, |node| {
        let choices = Average::ALL.map(|average| (average.name(), average));
        read::one_of(node, "`average`", &choices)
    });
    let above = section.field("above", out, |node| {
        by(node, "a percentage", measure::percent)
    });
    limit(section, place, "`{ pressure: memory, above: 40% }`", out);
    let resource = resource.given()?;
    let probe = PressureProbe {
        resource: resource.value,
        stalled: stalled.or(Stalled::Some)?,
        average: average.or(Average::TenSeconds)?,
        above: above.given()?.value,
    };
    Some((ProbeKind::Pressure(probe), resource.place))
}

fn link_errors(section: &Section, place: Place, out: &mut Findings) -> Found {
    let interface = section.field("link_errors", out, address::interface);
    let above: Field<u32> = section.field("above", out, |node| {
        read::number(node, "`above`", 0..=ERRORS_MAX)
    });
    limit(section, place, "`{ link_errors: eth0, above: 10 }`", out);
    let interface = interface.given()?;
    let probe = ProbeKind::LinkErrors {
        interface: interface.value,
        above: above.given()?.value,
    };
    Some((probe, interface.place))
}

fn limit(section: &Section, place: Place, like: &str, out: &mut Findings) {
    if section.lacks("above") {
        out.fault(
            Finding::at(place, "`above` is missing", "for this check")
                .help(format!("write the limit, as {like}")),
        );
    }
}

/// Those that are asked here; nothing for the others.
pub(super) fn probe(section: &Section, kind: Kind, place: Place, out: &mut Findings) -> Found {
    match kind {
        Kind::Process => process(section, out),
        Kind::Systemd => unit(section, out),
        Kind::Arp => arp(section, place, out),
        Kind::Ping => ping(section, out),
        Kind::Dns => dns(section, place, out),
        Kind::Disk => disk(section, place, out),
        Kind::Pressure => pressure(section, place, out),
        Kind::LinkErrors => link_errors(section, place, out),
        Kind::Script
        | Kind::Tcp
        | Kind::Http
        | Kind::Interface
        | Kind::File
        | Kind::Any
        | Kind::All
        | Kind::AtLeast => None,
    }
}
