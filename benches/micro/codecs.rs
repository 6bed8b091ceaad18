//! An advertisement to bytes and back, with and without the trailer that
//! authenticates it; the trailer is made and verified here.

use divan::{Bencher, black_box};
use vipward::agent::seal::Sequence;
use vipward::agent::settings::InstanceSettings;
use vipward::wire::advertisement::{Outgoing, decode_ipv4, encode};
use vipward::wire::authentication::{Key, Signature, is_genuine};

use crate::fleet::{PEER, datagram, instances};
use crate::settings::interface;

const ADDRESSES: [usize; 3] = [1, 10, 250];

fn settings(addresses: usize) -> InstanceSettings {
    let mut all = instances(addresses, 100);
    let mut one = all.swap_remove(0);
    let others = all.into_iter().flat_map(|other| other.addresses);
    one.addresses.extend(others);
    one
}

fn key() -> Key {
    Key::new(&[7; 32]).expect("a key")
}

fn written(addresses: usize, key: Option<&Key>, message: &mut Vec<u8>) {
    let settings = settings(addresses);
    let listed: Vec<_> = settings.advertised().collect();
    encode(&outgoing(&settings, &listed, key), message).expect("an advertisement");
}

fn outgoing<'a>(
    settings: &InstanceSettings,
    addresses: &'a [std::net::IpAddr],
    key: Option<&'a Key>,
) -> Outgoing<'a> {
    Outgoing {
        version: settings.version,
        vrid: settings.vrid,
        priority: 100,
        interval: settings.advert_interval,
        checksum: settings.checksum,
        v2_authentication: Default::default(),
        addresses,
        source: PEER.into(),
        destination: std::net::Ipv4Addr::new(224, 0, 0, 18).into(),
        signature: key.map(|key| Signature {
            key,
            key_id: 1,
            sequence: Sequence::from_bits(77),
        }),
    }
}

fn encoding(bencher: Bencher<'_, '_>, addresses: usize, key: Option<&Key>) {
    let settings = settings(addresses);
    let listed: Vec<_> = settings.advertised().collect();
    let mut message = Vec::new();
    bencher.bench_local(|| {
        let outgoing = outgoing(&settings, black_box(&listed), key);
        encode(&outgoing, &mut message).expect("an advertisement");
        message.len()
    });
}

#[divan::bench(args = ADDRESSES)]
fn encode_plain(bencher: Bencher<'_, '_>, addresses: usize) {
    encoding(bencher, addresses, None);
}

#[divan::bench(args = ADDRESSES)]
fn encode_authenticated(bencher: Bencher<'_, '_>, addresses: usize) {
    encoding(bencher, addresses, Some(&key()));
}

#[divan::bench(args = ADDRESSES)]
fn decode_plain(bencher: Bencher<'_, '_>, addresses: usize) {
    let mut message = Vec::new();
    written(addresses, None, &mut message);
    let bytes = datagram(&message);
    let place = interface("e0");
    bencher.bench_local(|| decode_ipv4(place, black_box(&bytes)).message.is_ok());
}

#[divan::bench(args = ADDRESSES)]
fn decode_authenticated(bencher: Bencher<'_, '_>, addresses: usize) {
    let key = key();
    let mut message = Vec::new();
    written(addresses, Some(&key), &mut message);
    let bytes = datagram(&message);
    let place = interface("e0");
    assert!(is_genuine(&key, &decode_ipv4(place, &bytes)));
    bencher.bench_local(|| is_genuine(&key, &decode_ipv4(place, black_box(&bytes))));
}
