//! Takes a message apart. It is authentic, so nobody but a node of the
//! cluster made it; another version may have.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::message::{
    ANSWER, ASK, CHECK, CHECK_GONE, CLAIM, COMMAND, INSTANCE, INSTANCE_GONE, MOVE, OUTCOME,
    check_of, family_of, fitness_of, state_of, version_of,
};
use super::moves;
use crate::agent::cluster::Refusal;
use crate::agent::cluster::message::{
    ADDRESSES_MAX, CheckNews, Fitness, InstanceNews, KEYS_MAX, MESSAGE_BYTES_MAX, Message, News,
    OBSTACLES_MAX, ObstacleNews, Record, TEXT_BYTES_MAX, Word, cut_to,
};
use crate::agent::jobs::CheckName;
use crate::agent::values::{InstanceName, MacAddress, NAME_BYTES_MAX, NodeName, Vrid, is_name};

/// No time is taken for longer, so that it can be added to any other.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why something cannot be had.
#[derive(Debug)]
pub(super) enum Lack {
    /// It is no CBOR, or of another shape than it ever had.
    Broken,
    /// It has a value that this version does not know; it is left out.
    Unknown,
}

impl From<Error> for Lack {
    fn from(_: Error) -> Self {
        Lack::Broken
    }
}

pub(super) type Found<T> = Result<T, Lack>;

/// Records and words that this version does not know are left out, texts are
/// cut, lists end at their bounds, and no text has control characters.
///
/// # Errors
///
/// [`Refusal::Undecodable`].
pub fn decode(bytes: &[u8]) -> Result<Message, Refusal> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::Undecodable);
    }
    let mut input = Decoder::new(bytes);
    let message = whole(&mut input).map_err(|_| Refusal::Undecodable)?;
    match input.position() == bytes.len() {
        true => Ok(message),
        false => Err(Refusal::Undecodable),
    }
}

fn whole(input: &mut Decoder<'_>) -> Found<Message> {
    let mut fields = Fields::begin(input)?;
    let message = Message {
        revision: fields.needed(number)?,
        known: fields.needed(number)?,
        pace: fields.needed(span)?,
        program: fields.or_default(text)?,
        news: fields.or_default(|input| option(input, news))?,
        words: fields.or_default(|input| known(input, word))?,
        clock_ms: fields.or_default(number)?,
        echo_ms: fields.or_default(number)?,
        heard_paths: fields.or_default(|input| option(input, |input| Ok(input.u32()?)))?,
    };
    fields.end()?;
    Ok(message)
}

fn news(input: &mut Decoder<'_>) -> Found<News> {
    let mut fields = Fields::begin(input)?;
    let news = News {
        after: fields.needed(number)?,
        up_to: fields.needed(number)?,
        records: fields.needed(|input| known(input, record))?,
    };
    fields.end()?;
    match news.after <= news.up_to {
        true => Ok(news),
        false => Err(Lack::Broken),
    }
}

fn record(input: &mut Decoder<'_>) -> Found<Record> {
    let mut fields = Fields::begin(input)?;
    let kind = fields.needed(|input| one_of(input, u8_of))?;
    match kind {
        INSTANCE => instance(&mut fields).map(Record::Instance),
        INSTANCE_GONE => fields.needed(instance_name).map(Record::InstanceGone),
        CHECK => check(&mut fields).map(Record::Check),
        CHECK_GONE => fields.needed(check_name).map(Record::CheckGone),
        _ => Err(Lack::Unknown),
    }
}

fn instance(fields: &mut Fields<'_, '_>) -> Found<InstanceNews> {
    Ok(InstanceNews {
        name: fields.needed(instance_name)?,
        vrid: fields.needed(|input| one_of(input, |number| Vrid::new(u8_of(number)?)))?,
        family: fields.needed(|input| one_of(input, family_of))?,
        version: fields.needed(|input| one_of(input, version_of))?,
        state: fields.needed(|input| one_of(input, state_of))?,
        for_: fields.or_default(span)?,
        reason: fields.or_default(text)?,
        fitness: fields.or(Fitness::Unable, |input| one_of(input, fitness_of))?,
        priority: fields.or_default(|input| one_of(input, u8_of))?,
        source: fields.or_default(|input| option(input, address))?,
        hardware_address: fields.or_default(|input| option(input, mac))?,
        advert_interval: fields.or_default(span)?,
        down_after: fields.or_default(|input| one_of(input, u8_of))?,
        holds: fields.or_default(flag)?,
        addresses: fields.or_default(|input| list(input, ADDRESSES_MAX, held))?,
        addresses_total: fields.or_default(|input| one_of(input, |n| u16::try_from(n).ok()))?,
        addresses_digest: fields.or_default(number)?,
        settings_digest: fields.or_default(number)?,
        keys: fields.or_default(|input| list(input, KEYS_MAX, key))?,
        active_key: fields.or_default(|input| option(input, |input| one_of(input, u8_of)))?,
        obstacles: fields.or_default(|input| list(input, OBSTACLES_MAX, obstacle))?,
        active_router: fields.or_default(|input| option(input, address))?,
        witnesses: fields.or_default(|input| one_of(input, u8_of))?,
        witnessed: fields.or_default(|input| option(input, |input| Ok(input.bool()?)))?,
    })
}

fn check(fields: &mut Fields<'_, '_>) -> Found<CheckNews> {
    Ok(CheckNews {
        name: fields.needed(check_name)?,
        state: fields.needed(|input| one_of(input, check_of))?,
        for_: fields.or_default(span)?,
        output: fields.or_default(text)?,
    })
}

fn word(input: &mut Decoder<'_>) -> Found<Word> {
    let mut fields = Fields::begin(input)?;
    let kind = fields.needed(|input| one_of(input, u8_of))?;
    match kind {
        ASK => Ok(Word::Ask {
            instance: fields.needed(instance_name)?,
            round: fields.needed(round)?,
        }),
        ANSWER => Ok(Word::Answer {
            instance: fields.needed(instance_name)?,
            round: fields.needed(round)?,
            shown: fields.needed(flag)?,
        }),
        CLAIM => Ok(Word::Claim {
            instance: fields.needed(instance_name)?,
            round: fields.needed(round)?,
        }),
        MOVE => Ok(Word::Move {
            instance: fields.needed(instance_name)?,
            serial: fields.needed(number)?,
            step: fields.needed(moves::read_step)?,
        }),
        COMMAND => Ok(Word::Command {
            serial: fields.needed(number)?,
            order: fields.needed(moves::read_order)?,
        }),
        OUTCOME => Ok(Word::Outcome {
            serial: fields.needed(number)?,
            answer: fields.or_default(|input| option(input, moves::read_answer))?,
        }),
        _ => Err(Lack::Unknown),
    }
}

fn round(input: &mut Decoder<'_>) -> Found<u32> {
    one_of(input, |number| u32::try_from(number).ok())
}

/// The elements of an array, one after the other.
pub(super) struct Fields<'i, 'b> {
    input: &'i mut Decoder<'b>,
    left: u64,
}

impl<'i, 'b> Fields<'i, 'b> {
    pub(super) fn begin(input: &'i mut Decoder<'b>) -> Found<Self> {
        let left = input.array()?.ok_or(Lack::Broken)?;
        Ok(Self { input, left })
    }

    pub(super) fn needed<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Found<T>,
    ) -> Found<T> {
        self.left = self.left.checked_sub(1).ok_or(Lack::Broken)?;
        read(self.input)
    }

    /// `absent` when the array ends before.
    fn or<T>(&mut self, absent: T, read: impl FnOnce(&mut Decoder<'b>) -> Found<T>) -> Found<T> {
        match self.left {
            0 => Ok(absent),
            _ => self.needed(read),
        }
    }

    pub(super) fn or_default<T: Default>(
        &mut self,
        read: impl FnOnce(&mut Decoder<'b>) -> Found<T>,
    ) -> Found<T> {
        self.or(T::default(), read)
    }

    /// Passes over what a later version added. Each step takes a byte at
    /// least, so the input ends it if nothing else does.
    fn end(self) -> Found<()> {
        for _ in 0..self.left {
            self.input.skip()?;
        }
        Ok(())
    }
}

/// The items of a list that this version knows.
fn known<'b, T>(
    input: &mut Decoder<'b>,
    mut read: impl FnMut(&mut Decoder<'b>) -> Found<T>,
) -> Found<Vec<T>> {
    let length = input.array()?.ok_or(Lack::Broken)?;
    let mut items = Vec::new();
    for _ in 0..length {
        let begin = input.position();
        input.skip()?;
        let end = input.position();
        input.set_position(begin);
        match read(input) {
            Ok(item) => items.push(item),
            Err(Lack::Unknown) => {}
            Err(Lack::Broken) => return Err(Lack::Broken),
        }
        input.set_position(end);
    }
    Ok(items)
}

/// The first items of a list, passing over the others.
fn list<'b, T>(
    input: &mut Decoder<'b>,
    most: usize,
    mut read: impl FnMut(&mut Decoder<'b>) -> Found<T>,
) -> Found<Vec<T>> {
    let mut taken = 0;
    let items = known(input, |input| {
        taken += 1;
        match taken > most {
            true => Err(Lack::Unknown),
            false => read(input),
        }
    })?;
    Ok(items)
}

pub(super) fn option<'b, T>(
    input: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Found<T>,
) -> Found<Option<T>> {
    match input.datatype()? {
        Type::Null => Ok(input.null().map(|()| None)?),
        _ => read(input).map(Some),
    }
}

pub(super) fn number(input: &mut Decoder<'_>) -> Found<u64> {
    Ok(input.u64()?)
}

pub(super) fn u8_of(number: u64) -> Option<u8> {
    u8::try_from(number).ok()
}

pub(super) fn one_of<T>(input: &mut Decoder<'_>, known: impl FnOnce(u64) -> Option<T>) -> Found<T> {
    known(input.u64()?).ok_or(Lack::Unknown)
}

fn flag(input: &mut Decoder<'_>) -> Found<bool> {
    Ok(input.bool()?)
}

pub(super) fn span(input: &mut Decoder<'_>) -> Found<Duration> {
    Ok(Duration::from_micros(input.u64()?).min(LONGEST))
}

/// It is shown to people, on terminals.
fn text(input: &mut Decoder<'_>) -> Found<String> {
    text_to(input, TEXT_BYTES_MAX)
}

/// The same with another bound.
pub(super) fn text_to(input: &mut Decoder<'_>, bytes_max: usize) -> Found<String> {
    let text = input.str()?;
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(shown).collect();
    Ok(cut_to(&text, bytes_max))
}

pub(super) fn node_name(input: &mut Decoder<'_>) -> Found<NodeName> {
    name(input).map(NodeName::new)
}

fn name<'b>(input: &mut Decoder<'b>) -> Found<&'b str> {
    let name = input.str()?;
    is_name(name).then_some(name).ok_or(Lack::Unknown)
}

pub(super) fn instance_name(input: &mut Decoder<'_>) -> Found<InstanceName> {
    name(input).map(InstanceName::new)
}

fn check_name(input: &mut Decoder<'_>) -> Found<CheckName> {
    name(input).map(CheckName::new)
}

fn address(input: &mut Decoder<'_>) -> Found<IpAddr> {
    let bytes = input.bytes()?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| Lack::Broken)
}

fn mac(input: &mut Decoder<'_>) -> Found<MacAddress> {
    let bytes = input.bytes()?.try_into().map_err(|_| Lack::Broken)?;
    Ok(MacAddress(bytes))
}

fn held(input: &mut Decoder<'_>) -> Found<(IpNet, bool)> {
    let mut fields = Fields::begin(input)?;
    let address = fields.needed(address)?;
    let prefix = fields.needed(|input| one_of(input, u8_of))?;
    let held = fields.needed(flag)?;
    let network = IpNet::new(address, prefix).map_err(|_| Lack::Broken)?;
    Ok((network, held))
}

fn key(input: &mut Decoder<'_>) -> Found<(u8, u64)> {
    let mut fields = Fields::begin(input)?;
    let number_ = fields.needed(|input| one_of(input, u8_of))?;
    Ok((number_, fields.needed(number)?))
}

fn obstacle(input: &mut Decoder<'_>) -> Found<ObstacleNews> {
    let mut fields = Fields::begin(input)?;
    Ok(ObstacleNews {
        code: fields.needed(text)?,
        source: fields.needed(text)?,
        text: fields.needed(text)?,
    })
}

// A name is a text, and bounded as one.
const _: () = assert!(NAME_BYTES_MAX <= TEXT_BYTES_MAX);
