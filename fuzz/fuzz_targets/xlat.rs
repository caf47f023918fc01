//! libFuzzer's entry to `tandem_fuzz_targets::xlat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::xlat::run(data));
