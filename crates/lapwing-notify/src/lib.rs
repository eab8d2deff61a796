//! Tells people: one file a notifier
