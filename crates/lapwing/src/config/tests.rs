//! Configurations good and bad.
