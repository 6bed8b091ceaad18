//! Messages as CBOR. Records and words are arrays that begin with the number
//! of their kind. Fields and kinds are only ever added, at the end; what was
//! there keeps its place and meaning. So a reader leaves out what is beyond
//! what it knows, and takes a default for what is not there yet.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use minicbor::Encoder;
use minicbor::encode::Error;

use super::moves;
use crate::agent::cluster::message::{
    ADDRESSES_MAX, CheckNews, Fitness, InstanceNews, KEYS_MAX, MESSAGE_BYTES_MAX, Message, News,
    OBSTACLES_MAX, Record, Word, cut,
};
use crate::agent::status::{CheckState, StateName};
use crate::agent::values::{Family, InstanceName, MacAddress, Version};

pub(super) const INSTANCE: u8 = 0;
pub(super) const INSTANCE_GONE: u8 = 1;
pub(super) const CHECK: u8 = 2;
pub(super) const CHECK_GONE: u8 = 3;

pub(super) const ASK: u8 = 0;
pub(super) const ANSWER: u8 = 1;
pub(super) const CLAIM: u8 = 2;
pub(super) const MOVE: u8 = 3;
pub(super) const COMMAND: u8 = 4;
pub(super) const OUTCOME: u8 = 5;

pub(super) type Out = Encoder<Vec<u8>>;
pub(super) type Done = Result<(), Error<Infallible>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {0} bytes, and {MESSAGE_BYTES_MAX} are the most")]
pub struct TooLong(pub usize);

/// Texts are cut and lists end at their bounds; times are whole microseconds.
///
/// # Errors
///
/// The message is longer than [`MESSAGE_BYTES_MAX`].
pub fn encode(message: &Message) -> Result<Vec<u8>, TooLong> {
    let mut out = Encoder::new(Vec::with_capacity(MESSAGE_BYTES_MAX));
    // Writing into memory does not fail.
    let _: Done = whole(&mut out, message);
    let bytes = out.into_writer();
    match bytes.len() {
        0..=MESSAGE_BYTES_MAX => Ok(bytes),
        length => Err(TooLong(length)),
    }
}

fn whole(out: &mut Out, message: &Message) -> Done {
    out.array(9)?.u64(message.revision)?.u64(message.known)?;
    span(out, message.pace)?;
    out.str(&cut(&message.program))?;
    match &message.news {
        None => out.null()?.ok()?,
        Some(news) => self::news(out, news)?,
    }
    list(out, &message.words, word)?;
    out.u64(message.clock_ms)?.u64(message.echo_ms)?;
    option(out, message.heard_paths.as_ref(), |out, paths| {
        out.u32(*paths)?.ok()
    })
}

fn news(out: &mut Out, news: &News) -> Done {
    out.array(3)?.u64(news.after)?.u64(news.up_to)?;
    list(out, &news.records, record)
}

fn record(out: &mut Out, record: &Record) -> Done {
    match record {
        Record::Instance(news) => instance(out, news),
        Record::InstanceGone(name) => out.array(2)?.u8(INSTANCE_GONE)?.str(name.as_str())?.ok(),
        Record::Check(news) => check(out, news),
        Record::CheckGone(name) => out.array(2)?.u8(CHECK_GONE)?.str(name.as_str())?.ok(),
    }
}

/// In the order of the fields of [`InstanceNews`].
fn instance(out: &mut Out, news: &InstanceNews) -> Done {
    out.array(25)?.u8(INSTANCE)?.str(news.name.as_str())?;
    out.u8(news.vrid.get())?.u8(family_number(news.family))?;
    out.u8(news.version.number())?
        .u8(state_number(news.state))?;
    span(out, news.for_)?;
    out.str(&cut(&news.reason))?
        .u8(fitness_number(news.fitness))?
        .u8(news.priority)?;
    option(out, news.source.as_ref(), |out, source| {
        address(out, *source)
    })?;
    option(out, news.hardware_address.as_ref(), mac)?;
    span(out, news.advert_interval)?;
    out.u8(news.down_after)?.bool(news.holds)?;
    let addresses = news.addresses.get(..ADDRESSES_MAX);
    list(out, addresses.unwrap_or(&news.addresses), held)?;
    out.u16(news.addresses_total)?
        .u64(news.addresses_digest)?
        .u64(news.settings_digest)?;
    let keys = news.keys.get(..KEYS_MAX).unwrap_or(&news.keys);
    list(out, keys, |out, (number, fingerprint)| {
        out.array(2)?.u8(*number)?.u64(*fingerprint)?.ok()
    })?;
    option(out, news.active_key.as_ref(), |out, key| out.u8(*key)?.ok())?;
    let obstacles = news.obstacles.get(..OBSTACLES_MAX);
    list(
        out,
        obstacles.unwrap_or(&news.obstacles),
        |out, obstacle| {
            out.array(3)?.str(&cut(&obstacle.code))?;
            out.str(&cut(&obstacle.source))?
                .str(&cut(&obstacle.text))?
                .ok()
        },
    )?;
    option(out, news.active_router.as_ref(), |out, router| {
        address(out, *router)
    })?;
    out.u8(news.witnesses)?;
    option(out, news.witnessed.as_ref(), |out, answered| {
        out.bool(*answered)?.ok()
    })
}

fn check(out: &mut Out, news: &CheckNews) -> Done {
    out.array(5)?.u8(CHECK)?.str(news.name.as_str())?;
    out.u8(check_number(news.state))?;
    span(out, news.for_)?;
    out.str(&cut(&news.output))?.ok()
}

fn word(out: &mut Out, word: &Word) -> Done {
    let about = |out: &mut Out, length, kind, instance: &InstanceName, round| -> Done {
        out.array(length)?.u8(kind)?.str(instance.as_str())?;
        out.u32(round)?.ok()
    };
    match word {
        Word::Ask { instance, round } => about(out, 3, ASK, instance, *round),
        Word::Answer {
            instance,
            round,
            shown,
        } => {
            about(out, 4, ANSWER, instance, *round)?;
            out.bool(*shown)?.ok()
        }
        Word::Claim { instance, round } => about(out, 3, CLAIM, instance, *round),
        Word::Move {
            instance,
            serial,
            step,
        } => {
            out.array(4)?.u8(MOVE)?.str(instance.as_str())?;
            out.u64(*serial)?;
            moves::step(out, step)
        }
        Word::Command { serial, order } => {
            out.array(3)?.u8(COMMAND)?.u64(*serial)?;
            moves::order(out, order)
        }
        Word::Outcome { serial, answer } => {
            out.array(3)?.u8(OUTCOME)?.u64(*serial)?;
            option(out, answer.as_ref(), moves::answer)
        }
    }
}

fn list<T>(out: &mut Out, items: &[T], mut each: impl FnMut(&mut Out, &T) -> Done) -> Done {
    out.array(u64::try_from(items.len()).unwrap_or(u64::MAX))?;
    items.iter().try_for_each(|item| each(out, item))
}

pub(super) fn option<T>(
    out: &mut Out,
    item: Option<&T>,
    some: impl FnOnce(&mut Out, &T) -> Done,
) -> Done {
    match item {
        Some(item) => some(out, item),
        None => out.null()?.ok(),
    }
}

pub(super) fn span(out: &mut Out, span: Duration) -> Done {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    out.u64(micros)?.ok()
}

fn address(out: &mut Out, address: IpAddr) -> Done {
    match address {
        IpAddr::V4(address) => out.bytes(&address.octets())?.ok(),
        IpAddr::V6(address) => out.bytes(&address.octets())?.ok(),
    }
}

fn mac(out: &mut Out, mac: &MacAddress) -> Done {
    out.bytes(&mac.0)?.ok()
}

fn held(out: &mut Out, (network, held): &(IpNet, bool)) -> Done {
    out.array(3)?;
    address(out, network.addr())?;
    out.u8(network.prefix_len())?.bool(*held)?.ok()
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    }
}

pub(super) fn family_of(number: u64) -> Option<Family> {
    let all = [Family::Ipv4, Family::Ipv6];
    all.into_iter()
        .find(|one| u64::from(family_number(*one)) == number)
}

pub(super) fn version_of(number: u64) -> Option<Version> {
    let all = [Version::V2, Version::V3];
    all.into_iter()
        .find(|one| u64::from(one.number()) == number)
}

fn state_number(state: StateName) -> u8 {
    match state {
        StateName::Initialize => 0,
        StateName::Backup => 1,
        StateName::Active => 2,
        StateName::Fault => 3,
        StateName::Drained => 4,
    }
}

pub(super) fn state_of(number: u64) -> Option<StateName> {
    let all = [
        StateName::Initialize,
        StateName::Backup,
        StateName::Active,
        StateName::Fault,
        StateName::Drained,
    ];
    all.into_iter()
        .find(|one| u64::from(state_number(*one)) == number)
}

fn check_number(state: CheckState) -> u8 {
    match state {
        CheckState::Unknown => 0,
        CheckState::Up => 1,
        CheckState::Down => 2,
    }
}

pub(super) fn check_of(number: u64) -> Option<CheckState> {
    let all = [CheckState::Unknown, CheckState::Up, CheckState::Down];
    all.into_iter()
        .find(|one| u64::from(check_number(*one)) == number)
}

fn fitness_number(fitness: Fitness) -> u8 {
    match fitness {
        Fitness::Able => 0,
        Fitness::ChecksFail => 1,
        Fitness::Unable => 2,
    }
}

pub(super) fn fitness_of(number: u64) -> Option<Fitness> {
    let all = [Fitness::Able, Fitness::ChecksFail, Fitness::Unable];
    all.into_iter()
        .find(|one| u64::from(fitness_number(*one)) == number)
}
