//! libFuzzer's entry to `tandem_fuzz_targets::wire_icmp_error`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::wire_icmp_error::run(data));
