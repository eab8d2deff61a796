//! Which keys may hold a secret, by all that keys, kinds and notifiers declare. In doubt a key may.

use lapwing_core::kind::{OptionInfo, OptionType, nearest};
use lapwing_notify::NOTIFIERS;

use super::{command_line::kinds, keys};

/// True when the value of this key, or of the known key nearest to it, may be shown.
pub(super) fn is_harmless(key: &str) -> bool {
    let known = options().map(|o| o.name).chain(own_keys());
    nearest(key, known).is_some_and(|name| !is_secret(name))
}

/// True for the name of an option that holds a secret, or pairs: headers hold tokens as often as not.
pub fn is_secret(name: &str) -> bool {
    options().any(|o| o.name == name && may_hold_secrets(o.ty))
}

fn may_hold_secrets(ty: OptionType) -> bool {
    matches!(ty, OptionType::Secret | OptionType::Secrets | OptionType::Pairs)
}

fn options() -> impl Iterator<Item = &'static OptionInfo> {
    let kinds = kinds().into_iter().flat_map(|k| k.options);
    kinds.chain(NOTIFIERS.iter().flat_map(|k| k.info.all_options()))
}

fn own_keys() -> impl Iterator<Item = &'static str> {
    let tables = keys::TABLES.iter().flat_map(|t| t.keys);
    keys::MONITOR.iter().chain(tables).map(|k| k.name).chain(["type"])
}
