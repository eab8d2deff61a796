//! The registry: every kind stands here with two lines, and nowhere else.

use crate::Kind;

/// All kinds, in the order in which help and documentation list them.
pub static KINDS: &[Kind] = &[];
