//! Requests to nf_tables, as far as keeping quiet needs them (linux/netfilter/
//! nf_tables.h). Numbers in attributes are in network order there.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::socket::{RouteError, RouteSocket, messages, verdict};

/// The kernel answers while it takes the request.
const PATIENCE: Duration = Duration::from_secs(10);

/// nfnetlink.h.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;

const FAMILY_UNSPEC: u8 = 0;
const FAMILY_ARP: u8 = 3;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const NESTED: u16 = 0x8000;
/// The table goes with the socket that made it, and nobody else changes it.
const TABLE_OWNED: u32 = 0x2;
const ARP_OUT: u32 = 1;
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;
const META_OIF: u32 = 5;
const NETWORK_HEADER: u32 = 1;

/// Of an ARP packet over Ethernet for IPv4.
const OPERATION_AT: u32 = 6;
const SENDER_AT: u32 = 14;
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];

const CHAIN: &str = "output";
const SET: &str = "addresses";
/// nft(8) shows the elements as IPv4 addresses then.
const TYPE_IPV4_ADDRESS: u32 = 7;
/// Elements in one message: an attribute's length has 16 bits.
const ELEMENTS_MAX: usize = 1_000;

/// A transaction: all of it is done, or nothing.
pub(super) struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    /// Messages are numbered from `first`, the beginning of the batch itself.
    pub fn new(first: u32) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            sequence: first,
        };
        batch.message(BATCH_BEGIN, 0, FAMILY_UNSPEC, SUBSYSTEM, |_| {});
        batch
    }

    /// The bytes, and the numbers of the first and of the last message, which
    /// alone is acknowledged; any other is answered only when it is refused.
    pub fn end(mut self) -> (Vec<u8>, u32) {
        let last = self.sequence.wrapping_sub(1);
        self.message(BATCH_END, 0, FAMILY_UNSPEC, SUBSYSTEM, |_| {});
        (self.bytes, last)
    }

    pub fn add_table(&mut self, name: &str, owned: bool) {
        self.table_message(NEW_TABLE, CREATE, |body| {
            text(body, 1, name);
            if owned {
                number(body, 2, TABLE_OWNED);
            }
        });
    }

    pub fn delete_table(&mut self, name: &str, acknowledged: bool) {
        let flags = if acknowledged { ACKNOWLEDGE } else { 0 };
        self.table_message(DEL_TABLE, flags, |body| text(body, 1, name));
    }

    /// Of what leaves by the interface with this index and names one of
    /// `addresses` as its sender, replies are dropped and requests ask in the
    /// name of `speaks_as`. The last message is acknowledged.
    pub fn guard(&mut self, table: &str, index: u32, addresses: &[Ipv4Addr], speaks_as: Ipv4Addr) {
        self.watch_output(table, addresses);
        self.rule(table, 0, |rule| {
            leaves_by(rule, index);
            is_operation(rule, ARP_REPLY);
            sender_is_listed(rule);
            drop_it(rule);
        });
        self.rule(table, ACKNOWLEDGE, |rule| {
            leaves_by(rule, index);
            is_operation(rule, ARP_REQUEST);
            sender_is_listed(rule);
            expression(rule, "immediate", |data| {
                number(data, 1, REGISTER);
                nest(data, 2, |value| attribute(value, 1, &speaks_as.octets()));
            });
            expression(rule, "payload", |data| {
                number(data, 5, REGISTER);
                number(data, 2, NETWORK_HEADER);
                number(data, 3, SENDER_AT);
                number(data, 4, 4);
                // ARP has no checksum.
                number(data, 6, 0);
            });
        });
    }

    /// Nothing leaves that names one of `addresses` as its sender. The last
    /// message is acknowledged.
    pub fn hush(&mut self, table: &str, addresses: &[Ipv4Addr]) {
        self.watch_output(table, addresses);
        self.rule(table, ACKNOWLEDGE, |rule| {
            sender_is_listed(rule);
            drop_it(rule);
        });
    }

    /// The chain that sees every ARP packet leave, and the list of addresses.
    fn watch_output(&mut self, table: &str, addresses: &[Ipv4Addr]) {
        self.table_message(NEW_CHAIN, CREATE, |body| {
            text(body, 1, table);
            text(body, 3, CHAIN);
            nest(body, 4, |hook| {
                number(hook, 1, ARP_OUT);
                number(hook, 2, 0);
            });
            number(body, 5, ACCEPT);
            text(body, 7, "filter");
        });
        self.table_message(NEW_SET, CREATE, |body| {
            text(body, 1, table);
            text(body, 2, SET);
            number(body, 4, TYPE_IPV4_ADDRESS);
            number(body, 5, 4);
            number(body, 10, 1);
        });
        for chunk in addresses.chunks(ELEMENTS_MAX) {
            self.table_message(NEW_ELEMENTS, CREATE, |body| {
                text(body, 1, table);
                text(body, 2, SET);
                number(body, 4, 1);
                nest(body, 3, |list| {
                    for address in chunk {
                        nest(list, 1, |element| {
                            nest(element, 1, |key| attribute(key, 1, &address.octets()));
                        });
                    }
                });
            });
        }
    }

    fn rule(&mut self, table: &str, flags: u16, expressions: impl FnOnce(&mut Vec<u8>)) {
        self.table_message(NEW_RULE, CREATE | APPEND | flags, |body| {
            text(body, 1, table);
            text(body, 2, CHAIN);
            nest(body, 4, expressions);
        });
    }

    fn table_message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Vec<u8>)) {
        self.message((SUBSYSTEM << 8) | kind, flags, FAMILY_ARP, 0, body);
    }

    /// nlmsghdr and nfgenmsg, then the attributes.
    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        body(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Carries a batch out, and waits for the kernel's word. After
/// [`RouteError::Socket`] a late answer may come: give the socket up.
pub(super) fn transact(
    socket: &mut RouteSocket,
    fill: impl FnOnce(&mut Batch),
) -> Result<(), RouteError> {
    let mut batch = Batch::new(socket.next_sequence());
    fill(&mut batch);
    let (bytes, last) = batch.end();
    socket.skip_to(last.wrapping_add(1));
    socket.send(&bytes)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        for message in messages(socket.receive(deadline)?) {
            if i32::from(message.kind) != libc::NLMSG_ERROR {
                continue;
            }
            match verdict(&message)? {
                Ok(()) if message.sequence == last => return Ok(()),
                Ok(()) => {}
                Err(refusal) => return Err(RouteError::Refused(refusal)),
            }
        }
    }
}

fn leaves_by(rule: &mut Vec<u8>, index: u32) {
    expression(rule, "meta", |data| {
        number(data, 1, REGISTER);
        number(data, 2, META_OIF);
    });
    equals(rule, &index.to_ne_bytes());
}

fn is_operation(rule: &mut Vec<u8>, operation: [u8; 2]) {
    load(rule, OPERATION_AT, 2);
    equals(rule, &operation);
}

fn sender_is_listed(rule: &mut Vec<u8>) {
    load(rule, SENDER_AT, 4);
    expression(rule, "lookup", |data| {
        text(data, 1, SET);
        number(data, 2, REGISTER);
        number(data, 4, 1);
    });
}

fn drop_it(rule: &mut Vec<u8>) {
    expression(rule, "immediate", |data| {
        number(data, 1, VERDICT_REGISTER);
        nest(data, 2, |value| {
            nest(value, 2, |verdict| number(verdict, 1, DROP))
        });
    });
}

fn load(rule: &mut Vec<u8>, offset: u32, length: u32) {
    expression(rule, "payload", |data| {
        number(data, 1, REGISTER);
        number(data, 2, NETWORK_HEADER);
        number(data, 3, offset);
        number(data, 4, length);
    });
}

fn equals(rule: &mut Vec<u8>, value: &[u8]) {
    expression(rule, "cmp", |data| {
        number(data, 1, REGISTER);
        number(data, 2, 0);
        nest(data, 3, |wanted| attribute(wanted, 1, value));
    });
}

fn expression(rule: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    nest(rule, 1, |element| {
        text(element, 1, name);
        nest(element, 2, data);
    });
}

fn number(body: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(body, kind, &value.to_be_bytes());
}

fn text(body: &mut Vec<u8>, kind: u16, value: &str) {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    attribute(body, kind, &bytes);
}

fn nest(body: &mut Vec<u8>, kind: u16, inner: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    inner(&mut bytes);
    attribute(body, kind | NESTED, &bytes);
}

/// At most 64 KiB, which [`ELEMENTS_MAX`] sees to.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
