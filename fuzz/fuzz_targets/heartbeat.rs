//! Any bytes, as the datagram formats of `lapwing_wire::heartbeat` read them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lapwing_wire::fuzzing::heartbeat(bytes));
