//! Any bytes as a datagram: what `protocol/tests/corpus.rs` promises must hold.
#![no_main]

#[path = "../../tests/corpus/promises.rs"]
mod promises;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| promises::hold(datagram));
