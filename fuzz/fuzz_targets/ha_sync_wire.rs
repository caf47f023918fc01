//! libFuzzer's entry to `tandem_fuzz_targets::ha_sync_wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tandem_fuzz_targets::ha_sync_wire::run(data));
