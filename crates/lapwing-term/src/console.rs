//! What the console knows without a terminal: how a line is read, what may stand at the cursor, how much of a flood of
//! events is shown, what the prompt says.
//!
//! It must never run anything: it gets text and gives text.

pub mod complete;
pub mod flood;
pub mod glance;
pub mod paste;
pub mod words;
