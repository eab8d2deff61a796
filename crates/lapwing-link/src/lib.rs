//! Other machines: sensors, those who hear them, and the echo server.
//!
//! Invariant: nothing here answers with more than it was sent, keeps more than a bounded memory, or can be made to
//! talk to itself.

mod answer;
pub mod echo;
pub mod heartbeat;
pub mod limit;
pub mod sensor;
