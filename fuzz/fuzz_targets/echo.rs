//! Any bytes, as the datagram formats of `lapwing_wire::echo` read them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lapwing_wire::fuzzing::echo(bytes));
