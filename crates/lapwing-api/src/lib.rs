//! The JSON shapes of Lapwing's public surface: events, checks, status, reports, orders.
//!
//! Additive, never renamed; a field that does not apply is absent. It must never hold a secret.

pub mod client;
pub mod echo;
pub mod monitors;
pub mod queries;
pub mod report;
pub mod shapes;
pub mod steering;
pub mod surface;
pub mod watch;

/// A JSON value, as it stands in the free parts of the shapes.
pub use serde_json::Value as Json;
