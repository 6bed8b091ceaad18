//! Any message.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use vipward::agent::cluster::message::{
    CheckNews, Fitness, InstanceNews, Message, News, ObstacleNews, Record, Word,
};
use vipward::agent::jobs::CheckName;
use vipward::agent::moves::{Order, Step};
use vipward::agent::status::{CheckState, StateName};
use vipward::agent::values::{Family, InstanceName, MacAddress, NodeName, Version, Vrid};

/// How long texts and lists may become.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub text: usize,
    pub list: usize,
}

/// What comes out as it went in.
pub const WITHIN: Sizes = Sizes { text: 120, list: 4 };
/// What is cut somewhere.
pub const BEYOND: Sizes = Sizes {
    text: 400,
    list: 40,
};

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"
}

/// Without control characters, and with characters of every width.
fn text(sizes: Sizes) -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..=sizes.text).prop_map(move |characters| {
        let mut text = String::new();
        for character in characters.into_iter().filter(|c| !c.is_control()) {
            if text.len() + character.len_utf8() <= sizes.text {
                text.push(character);
            }
        }
        text
    })
}

/// Numbers of every length.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(number, shift)| number >> shift)
}

fn span() -> impl Strategy<Value = Duration> {
    (0..3_000_000_000_000_000_u64).prop_map(Duration::from_micros)
}

fn network() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), any::<u8>()).prop_map(|(address, prefix)| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, prefix % (longest + 1)).expect("it fits")
    })
}

fn obstacle(sizes: Sizes) -> impl Strategy<Value = ObstacleNews> {
    let texts = (text(sizes), text(sizes), text(sizes));
    texts.prop_map(|(code, source, text)| ObstacleNews { code, source, text })
}

fn states() -> impl Strategy<Value = (StateName, Fitness, Family, Version)> {
    (
        prop::sample::select(vec![
            StateName::Initialize,
            StateName::Backup,
            StateName::Active,
            StateName::Fault,
        ]),
        prop::sample::select(vec![Fitness::Able, Fitness::ChecksFail, Fitness::Unable]),
        prop::sample::select(vec![Family::Ipv4, Family::Ipv6]),
        prop::sample::select(vec![Version::V2, Version::V3]),
    )
}

fn instance(sizes: Sizes) -> impl Strategy<Value = InstanceNews> {
    let identity = (name(), 1..=255_u8, states(), span(), text(sizes));
    let sender = (
        any::<u8>(),
        option::of(any::<IpAddr>()),
        option::of(any::<[u8; 6]>().prop_map(MacAddress)),
        span(),
        any::<u8>(),
        any::<bool>(),
    );
    let addresses = (
        vec((network(), any::<bool>()), 0..=sizes.list),
        any::<u16>(),
        number(),
        number(),
    );
    let keys = (
        vec((any::<u8>(), number()), 0..=sizes.list),
        option::of(any::<u8>()),
    );
    let rest = (
        vec(obstacle(sizes), 0..=sizes.list),
        option::of(any::<IpAddr>()),
        (any::<u8>(), option::of(any::<bool>())),
    );
    (identity, sender, addresses, keys, rest).prop_map(
        |(identity, sender, addresses, keys, rest)| {
            let (name, vrid, (state, fitness, family, version), for_, reason) = identity;
            let (priority, source, hardware_address, advert_interval, down_after, holds) = sender;
            InstanceNews {
                name: InstanceName::new(&name),
                vrid: Vrid::new(vrid).expect("not 0"),
                family,
                version,
                state,
                for_,
                reason,
                fitness,
                priority,
                source,
                hardware_address,
                advert_interval,
                down_after,
                holds,
                addresses: addresses.0,
                addresses_total: addresses.1,
                addresses_digest: addresses.2,
                settings_digest: addresses.3,
                keys: keys.0,
                active_key: keys.1,
                obstacles: rest.0,
                active_router: rest.1,
                witnesses: rest.2.0,
                witnessed: rest.2.1,
            }
        },
    )
}

fn check(sizes: Sizes) -> impl Strategy<Value = CheckNews> {
    let states = vec![CheckState::Unknown, CheckState::Up, CheckState::Down];
    let states = prop::sample::select(states);
    (name(), states, span(), text(sizes)).prop_map(|(name, state, for_, output)| CheckNews {
        name: CheckName::new(&name),
        state,
        for_,
        output,
    })
}

pub fn record(sizes: Sizes) -> impl Strategy<Value = Record> {
    prop_oneof![
        4 => instance(sizes).prop_map(Record::Instance),
        1 => name().prop_map(|name| Record::InstanceGone(InstanceName::new(&name))),
        2 => check(sizes).prop_map(Record::Check),
        1 => name().prop_map(|name| Record::CheckGone(CheckName::new(&name))),
    ]
}

pub fn word() -> impl Strategy<Value = Word> {
    prop_oneof![plain_word(), moving_word()]
}

fn plain_word() -> impl Strategy<Value = Word> {
    (name(), any::<u32>(), any::<bool>(), 0..3_u8).prop_map(|(name, round, shown, kind)| {
        let instance = InstanceName::new(&name);
        match kind {
            0 => Word::Ask { instance, round },
            1 => Word::Answer {
                instance,
                round,
                shown,
            },
            _ => Word::Claim { instance, round },
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let why = "[a-z ]{0,40}";
    prop_oneof![
        number().prop_map(|members| Step::Request { members }),
        number().prop_map(|members| Step::Offer { members }),
        span().prop_map(|hooks| Step::Accept { hooks }),
        why.prop_map(|why| Step::Refuse { why }),
        number().prop_map(|members| Step::Yield { members }),
        any::<bool>().prop_map(|claimed| Step::Working { claimed }),
        Just(Step::Taken),
        Just(Step::Released),
        why.prop_map(|why| Step::BreakOff { why }),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let instance = || option::of(name().prop_map(|name| InstanceName::new(&name)));
    let handover = (name(), option::of(name())).prop_map(|(name, to)| Order::Handover {
        instance: InstanceName::new(&name),
        to: to.as_deref().map(NodeName::new),
    });
    let drain = (instance(), option::of(span()), any::<bool>());
    let drain = drain.prop_map(|(instance, span, force)| Order::Drain {
        instance,
        span,
        force,
    });
    let undrain = instance().prop_map(|instance| Order::Undrain { instance });
    prop_oneof![handover, drain, undrain]
}

/// What nodes say about planned moves.
fn moving_word() -> impl Strategy<Value = Word> {
    let moves = (name(), number(), step()).prop_map(|(name, serial, step)| Word::Move {
        instance: InstanceName::new(&name),
        serial,
        step,
    });
    let commands = (number(), order());
    let commands = commands.prop_map(|(serial, order)| Word::Command { serial, order });
    let answer = option::of(("[a-z ]{0,80}", any::<bool>()));
    let answer = answer.prop_map(|answer| {
        answer.map(|(text, good)| match good {
            true => Ok(text),
            false => Err(text),
        })
    });
    let outcomes = (number(), answer);
    let outcomes = outcomes.prop_map(|(serial, answer)| Word::Outcome { serial, answer });
    prop_oneof![moves, commands, outcomes]
}

/// Of any size; one that fits has a record or two.
pub fn message(sizes: Sizes) -> impl Strategy<Value = Message> {
    let news = (number(), number(), vec(record(sizes), 0..3));
    let news = option::of(news).prop_map(|news| {
        news.map(|(one, other, records)| News {
            after: one.min(other),
            up_to: one.max(other),
            records,
        })
    });
    let program = text(Sizes { text: 20, ..sizes });
    let numbers = (number(), number(), number(), number());
    let times = (span(), option::of(0..=u32::MAX));
    (numbers, times, program, news, vec(word(), 0..3)).prop_map(
        |((revision, known, clock_ms, echo_ms), (pace, heard_paths), program, news, words)| {
            Message {
                revision,
                known,
                pace,
                clock_ms,
                echo_ms,
                heard_paths,
                program,
                news,
                words,
            }
        },
    )
}
