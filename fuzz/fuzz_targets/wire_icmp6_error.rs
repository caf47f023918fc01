//! libFuzzer's entry to `tandem_fuzz_targets::wire_icmp6_error`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::wire_icmp6_error::run(data));
