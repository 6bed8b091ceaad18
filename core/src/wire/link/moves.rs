//! Steps of an exchange, and orders of operators, as arrays like all others.

use std::time::Duration;

use minicbor::Decoder;

use super::decode::{
    Fields, Found, Lack, instance_name, node_name, number, one_of, option, span, text_to, u8_of,
};
use super::message::{Done, Out, option as optional, span as out_span};
use crate::agent::cluster::message::{ANSWER_BYTES_MAX, cut_to};
use crate::agent::moves::{Answer, Order, Step, WHY_BYTES_MAX};
use crate::agent::values::{InstanceName, NodeName};

const REQUEST: u8 = 0;
const OFFER: u8 = 1;
const ACCEPT: u8 = 2;
const REFUSE: u8 = 3;
const YIELD: u8 = 4;
const WORKING: u8 = 5;
const TAKEN: u8 = 6;
const RELEASED: u8 = 7;
const BREAK_OFF: u8 = 8;

const HANDOVER: u8 = 0;
const DRAIN: u8 = 1;
const UNDRAIN: u8 = 2;

pub(super) fn step(out: &mut Out, step: &Step) -> Done {
    let why = |out: &mut Out, kind, why: &str| -> Done {
        out.array(2)?
            .u8(kind)?
            .str(&cut_to(why, WHY_BYTES_MAX))?
            .ok()
    };
    match step {
        Step::Request { members } => out.array(2)?.u8(REQUEST)?.u64(*members)?.ok(),
        Step::Offer { members } => out.array(2)?.u8(OFFER)?.u64(*members)?.ok(),
        Step::Accept { hooks } => {
            out.array(2)?.u8(ACCEPT)?;
            out_span(out, *hooks)
        }
        Step::Refuse { why: text } => why(out, REFUSE, text),
        Step::Yield { members } => out.array(2)?.u8(YIELD)?.u64(*members)?.ok(),
        Step::Working { claimed } => out.array(2)?.u8(WORKING)?.bool(*claimed)?.ok(),
        Step::Taken => out.array(1)?.u8(TAKEN)?.ok(),
        Step::Released => out.array(1)?.u8(RELEASED)?.ok(),
        Step::BreakOff { why: text } => why(out, BREAK_OFF, text),
    }
}

pub(super) fn read_step(input: &mut Decoder<'_>) -> Found<Step> {
    let mut fields = Fields::begin(input)?;
    let why = |input: &mut Decoder<'_>| text_to(input, WHY_BYTES_MAX);
    match fields.needed(|input| one_of(input, u8_of))? {
        REQUEST => Ok(Step::Request {
            members: fields.needed(number)?,
        }),
        OFFER => Ok(Step::Offer {
            members: fields.needed(number)?,
        }),
        ACCEPT => Ok(Step::Accept {
            hooks: fields.needed(span)?,
        }),
        REFUSE => Ok(Step::Refuse {
            why: fields.needed(why)?,
        }),
        YIELD => Ok(Step::Yield {
            members: fields.needed(number)?,
        }),
        WORKING => Ok(Step::Working {
            claimed: fields.needed(|input| Ok(input.bool()?))?,
        }),
        TAKEN => Ok(Step::Taken),
        RELEASED => Ok(Step::Released),
        BREAK_OFF => Ok(Step::BreakOff {
            why: fields.needed(why)?,
        }),
        _ => Err(Lack::Unknown),
    }
}

pub(super) fn order(out: &mut Out, order: &Order) -> Done {
    match order {
        Order::Handover { instance, to } => {
            out.array(3)?.u8(HANDOVER)?.str(instance.as_str())?;
            optional(out, to.as_ref(), |out, to: &NodeName| {
                out.str(to.as_str())?.ok()
            })
        }
        Order::Drain {
            instance,
            span,
            force,
        } => {
            out.array(4)?.u8(DRAIN)?;
            optional(out, instance.as_ref(), name)?;
            optional(out, span.as_ref(), |out, span: &Duration| {
                out_span(out, *span)
            })?;
            out.bool(*force)?.ok()
        }
        Order::Undrain { instance } => {
            out.array(2)?.u8(UNDRAIN)?;
            optional(out, instance.as_ref(), name)
        }
    }
}

fn name(out: &mut Out, name: &InstanceName) -> Done {
    out.str(name.as_str())?.ok()
}

pub(super) fn read_order(input: &mut Decoder<'_>) -> Found<Order> {
    let mut fields = Fields::begin(input)?;
    match fields.needed(|input| one_of(input, u8_of))? {
        HANDOVER => Ok(Order::Handover {
            instance: fields.needed(instance_name)?,
            to: fields.needed(|input| option(input, node_name))?,
        }),
        DRAIN => Ok(Order::Drain {
            instance: fields.needed(|input| option(input, instance_name))?,
            span: fields.needed(|input| option(input, span))?,
            force: fields.needed(|input| Ok(input.bool()?))?,
        }),
        UNDRAIN => Ok(Order::Undrain {
            instance: fields.needed(|input| option(input, instance_name))?,
        }),
        _ => Err(Lack::Unknown),
    }
}

pub(super) fn answer(out: &mut Out, answer: &Answer) -> Done {
    let (good, text) = match answer {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    };
    out.array(2)?.bool(good)?;
    out.str(&cut_to(text, ANSWER_BYTES_MAX))?.ok()
}

pub(super) fn read_answer(input: &mut Decoder<'_>) -> Found<Answer> {
    let mut fields = Fields::begin(input)?;
    let good = fields.needed(|input| Ok(input.bool()?))?;
    let text = fields.needed(|input| text_to(input, ANSWER_BYTES_MAX))?;
    Ok(if good { Ok(text) } else { Err(text) })
}
