//! Messages as CBOR: round trips, bounds, and what other versions may send.

use std::time::Duration;

use minicbor::Encoder;
use minicbor::data::Type;
use proptest::prelude::*;

use vipward::agent::cluster::Refusal;
use vipward::agent::cluster::message::{
    ADDRESSES_MAX, KEYS_MAX, MESSAGE_BYTES_MAX, Message, News, OBSTACLES_MAX, Record,
    TEXT_BYTES_MAX, Word, cut,
};
use vipward::agent::values::InstanceName;
use vipward::wire::link::{decode, encode};

use crate::arbitrary::{BEYOND, WITHIN, message, record, word};

fn empty() -> Message {
    Message {
        revision: 0,
        known: 0,
        pace: Duration::ZERO,
        clock_ms: 7,
        echo_ms: 5,
        heard_paths: Some(1),
        program: String::new(),
        news: None,
        words: Vec::new(),
    }
}

fn with(records: Vec<Record>) -> Message {
    let news = News {
        after: 0,
        up_to: 0,
        records,
    };
    Message {
        news: Some(news),
        ..empty()
    }
}

/// Its bytes in a message, whatever their number.
fn size(message: &Message, than: &Message) -> usize {
    let length = |message| match encode(message) {
        Ok(bytes) => bytes.len(),
        Err(too_long) => too_long.0,
    };
    length(message) - length(than)
}

proptest! {
    #[test]
    fn what_is_told_is_what_was_meant(message in message(WITHIN)) {
        match encode(&message) {
            Ok(bytes) => {
                prop_assert!(bytes.len() <= MESSAGE_BYTES_MAX);
                prop_assert_eq!(decode(&bytes), Ok(message));
            }
            Err(too_long) => prop_assert!(too_long.0 > MESSAGE_BYTES_MAX),
        }
    }

    /// One field at a time would be hundreds of tests; this is all of them.
    #[test]
    fn a_record_alone_comes_through_whole(record in record(WITHIN)) {
        let message = with(vec![record]);
        prop_assume!(encode(&message).is_ok());
        prop_assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
    }

    /// The core packs messages by these figures.
    #[test]
    fn sizes_are_never_underestimated(record in record(BEYOND), word in word()) {
        let bytes = size(&with(vec![record.clone()]), &with(Vec::new()));
        prop_assert!(bytes <= record.size_max(), "{} > {}", bytes, record.size_max());
        let words = Message { words: vec![word.clone()], ..empty() };
        let bytes = size(&words, &empty());
        prop_assert!(bytes <= word.size_max(), "{} > {}", bytes, word.size_max());
    }

    #[test]
    fn texts_and_lists_end_at_their_bounds(record in record(BEYOND)) {
        let Ok(bytes) = encode(&with(vec![record.clone()])) else { return Ok(()) };
        let told = decode(&bytes).unwrap().news.unwrap().records.remove(0);
        match (record, told) {
            (Record::Instance(meant), Record::Instance(told)) => {
                let first = meant.addresses.len().min(ADDRESSES_MAX);
                prop_assert_eq!(&told.addresses[..], &meant.addresses[..first]);
                let first = meant.keys.len().min(KEYS_MAX);
                prop_assert_eq!(&told.keys[..], &meant.keys[..first]);
                prop_assert_eq!(told.obstacles.len(), meant.obstacles.len().min(OBSTACLES_MAX));
                for (told, meant) in told.obstacles.iter().zip(&meant.obstacles) {
                    prop_assert_eq!(&told.text, &cut(&meant.text));
                    prop_assert_eq!(&told.code, &cut(&meant.code));
                }
                prop_assert_eq!(told.reason, cut(&meant.reason));
            }
            (Record::Check(meant), Record::Check(told)) => {
                prop_assert_eq!(told.output, cut(&meant.output));
            }
            (meant, told) => prop_assert_eq!(meant, told),
        }
    }

    #[test]
    fn no_bytes_upset_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
        let _ = decode(&bytes);
    }

    /// Nearer to what is sound: a sound one with a few bytes changed.
    #[test]
    fn no_changed_message_upsets_the_reader(
        message in message(WITHIN),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let Ok(mut bytes) = encode(&message) else { return Ok(()) };
        for (at, to) in changes {
            let at = at % bytes.len();
            bytes[at] = to;
        }
        let Ok(told) = decode(&bytes) else { return Ok(()) };
        // What is understood is sound, and can be told on.
        if let Ok(again) = encode(&told) {
            prop_assert_eq!(decode(&again), Ok(told));
        }
    }

    /// What a later version adds, at any place where it may.
    #[test]
    fn what_later_versions_add_is_passed_over(message in message(WITHIN)) {
        let Ok(bytes) = encode(&message) else { return Ok(()) };
        let more = widened(&bytes);
        prop_assume!(more.len() <= MESSAGE_BYTES_MAX);
        prop_assert_eq!(decode(&more), Ok(message));
    }
}

/// Appends an element to the message, its news, and each record and word, and
/// a record and a word of a kind that does not exist.
fn widened(bytes: &[u8]) -> Vec<u8> {
    let mut input = minicbor::Decoder::new(bytes);
    let mut out = Encoder::new(Vec::new());
    let more = input.array().unwrap().unwrap() + 1;
    out.array(more).unwrap();
    for _ in 0..4 {
        copy(&mut input, &mut out);
    }
    match input.datatype().unwrap() {
        Type::Null => copy(&mut input, &mut out),
        _ => {
            assert_eq!(input.array().unwrap(), Some(3));
            out.array(4).unwrap();
            copy(&mut input, &mut out);
            copy(&mut input, &mut out);
            widened_items(&mut input, &mut out);
            out.str("new").unwrap();
        }
    }
    widened_items(&mut input, &mut out);
    for _ in 0..3 {
        copy(&mut input, &mut out);
    }
    out.array(2).unwrap().bool(true).unwrap().null().unwrap();
    out.into_writer()
}

fn widened_items(input: &mut minicbor::Decoder<'_>, out: &mut Encoder<Vec<u8>>) {
    let items = input.array().unwrap().unwrap();
    out.array(items + 1).unwrap();
    for _ in 0..items {
        let fields = input.array().unwrap().unwrap();
        out.array(fields + 1).unwrap();
        for _ in 0..fields {
            copy(input, out);
        }
        out.map(1).unwrap().u8(1).unwrap().array(0).unwrap();
    }
    out.array(2)
        .unwrap()
        .u8(200)
        .unwrap()
        .str("a kind")
        .unwrap();
}

fn copy(input: &mut minicbor::Decoder<'_>, out: &mut Encoder<Vec<u8>>) {
    let begin = input.position();
    input.skip().unwrap();
    let item = &input.input()[begin..input.position()];
    out.writer_mut().extend_from_slice(item);
}

/// What the first version would have sent, had it known less.
#[test]
fn what_is_not_there_yet_has_its_default() {
    let mut out = Encoder::new(Vec::new());
    out.array(5).unwrap().u8(9).unwrap().u8(4).unwrap();
    out.u32(1_000_000).unwrap().str("1.0").unwrap();
    out.array(3).unwrap().u8(3).unwrap().u8(9).unwrap();
    out.array(1).unwrap().array(6).unwrap();
    out.u8(0).unwrap().str("web").unwrap().u8(51).unwrap();
    out.u8(4).unwrap().u8(3).unwrap().u8(2).unwrap();
    let told = decode(&out.into_writer()).unwrap();
    assert_eq!((told.revision, told.known), (9, 4));
    assert_eq!(told.pace, Duration::from_secs(1));
    assert!(told.words.is_empty());
    let news = told.news.unwrap();
    assert_eq!((news.after, news.up_to), (3, 9));
    let [Record::Instance(instance)] = &news.records[..] else {
        panic!("{:?}", news.records);
    };
    assert_eq!(instance.name.as_str(), "web");
    assert!(instance.addresses.is_empty());
    assert_eq!(instance.active_router, None);
}

#[test]
fn a_value_that_is_not_known_costs_its_record_only() {
    let mut out = Encoder::new(Vec::new());
    out.array(5).unwrap().u8(9).unwrap().u8(4).unwrap();
    out.u8(0).unwrap().str("a\u{1b}[2Jb").unwrap();
    out.array(3).unwrap().u8(0).unwrap().u8(9).unwrap();
    out.array(4).unwrap();
    // A state of the future; a name that is none; a VRID that is none.
    for (name, vrid, state) in [("web", 51, 9), ("we b", 51, 1), ("web", 0, 1)] {
        out.array(6).unwrap().u8(0).unwrap().str(name).unwrap();
        out.u8(vrid).unwrap().u8(4).unwrap().u8(3).unwrap();
        out.u8(state).unwrap();
    }
    out.array(2).unwrap().u8(1).unwrap().str("db").unwrap();
    let told = decode(&out.into_writer()).unwrap();
    let gone = Record::InstanceGone(InstanceName::new("db"));
    assert_eq!(told.news.unwrap().records, [gone]);
    assert_eq!(told.program, "a [2Jb");
}

#[test]
fn what_is_no_message_is_undecodable() {
    let sound = encode(&with(Vec::new())).unwrap();
    let trailing = [&sound[..], &[0]].concat();
    let long = vec![0x80; MESSAGE_BYTES_MAX + 1];
    // An array without a length, and one that is far too long.
    let endless: &[u8] = &[0x9f, 0xff];
    let vast: &[u8] = &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    let backwards = {
        let mut out = Encoder::new(Vec::new());
        out.array(5).unwrap().u8(1).unwrap().u8(1).unwrap();
        out.u8(1).unwrap().str("").unwrap();
        out.array(3).unwrap().u8(5).unwrap().u8(4).unwrap();
        out.array(0).unwrap();
        out.into_writer()
    };
    for bytes in [
        &[][..],
        &[0xf6],
        &trailing,
        &long,
        endless,
        vast,
        &backwards,
    ] {
        assert_eq!(decode(bytes), Err(Refusal::Undecodable), "{bytes:?}");
    }
    for length in 0..sound.len() {
        assert_eq!(decode(&sound[..length]), Err(Refusal::Undecodable));
    }
    assert!(decode(&sound).is_ok());
}

/// What a message has beside records and words; the core leaves room for it.
#[test]
fn the_frame_of_a_message_is_small() {
    let message = Message {
        revision: u64::MAX,
        known: u64::MAX,
        pace: Duration::MAX,
        clock_ms: u64::MAX,
        echo_ms: u64::MAX,
        heard_paths: Some(u32::MAX),
        program: "x".repeat(500),
        news: Some(News {
            after: u64::MAX,
            up_to: u64::MAX,
            records: Vec::new(),
        }),
        words: Vec::new(),
    };
    let bytes = encode(&message).unwrap().len();
    assert!(bytes <= 78 + TEXT_BYTES_MAX, "{bytes} bytes");
}

#[test]
fn words_of_one_message_keep_their_order() {
    let words: Vec<_> = (0..20)
        .map(|round| Word::Ask {
            instance: InstanceName::new("web"),
            round,
        })
        .collect();
    let message = Message { words, ..empty() };
    assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
}
