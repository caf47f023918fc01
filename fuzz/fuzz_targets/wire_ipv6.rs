//! libFuzzer's entry to `tandem_fuzz_targets::wire_ipv6`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::wire_ipv6::run(data));
