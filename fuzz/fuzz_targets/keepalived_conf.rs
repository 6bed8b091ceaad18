#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipward_fuzz::keepalived_conf(data));
