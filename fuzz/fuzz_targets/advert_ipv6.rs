#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipward_fuzz::advert_ipv6(data));
