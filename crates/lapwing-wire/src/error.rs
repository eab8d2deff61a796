//! Why bytes are not the message that they should be.

/// Why bytes could not be read, or a message not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the message does.
    #[error("a {what} has at least {need} bytes, this one has {have}")]
    Short {
        what: &'static str,
        need: usize,
        have: usize,
    },
    /// A length, version or marker has a value that the format does not allow.
    #[error("not a {what}: the field {field} is wrong")]
    Malformed { what: &'static str, field: &'static str },
    /// The checksum does not match the bytes.
    #[error("the checksum of the {what} is wrong")]
    Checksum { what: &'static str },
}
