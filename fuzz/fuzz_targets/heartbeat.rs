//! libFuzzer's entry to `tandem_fuzz_targets::heartbeat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::heartbeat::run(data));
