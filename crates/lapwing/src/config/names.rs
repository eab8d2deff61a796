//! What the series of a monitor are called: `name` when there is one, else `name/kind`, or `name/HOST[:PORT]` where that
//! is not unique, or at last `name/URL`. Two names of a monitor are never the same.

use std::collections::HashMap;

use lapwing_core::target::Target;

/// The name of each target's series, in the order given.
pub(super) fn of<'t>(monitor: &str, targets: impl Iterator<Item = &'t Target> + Clone) -> Vec<String> {
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    let mut count = 0;
    for target in targets.clone() {
        *kinds.entry(target.kind.name).or_default() += 1;
        count += 1;
    }
    if count == 1 {
        return vec![monitor.to_owned()];
    }
    let own_kind = |target: &Target| kinds.get(target.kind.name) == Some(&1);
    let mut hosts: HashMap<String, usize> = HashMap::new();
    for target in targets.clone() {
        let taken = if own_kind(target) {
            target.kind.name.to_owned()
        } else {
            target.host_port()
        };
        *hosts.entry(taken).or_default() += 1;
    }
    let name = |target: &Target| {
        if own_kind(target) && hosts.get(target.kind.name) == Some(&1) {
            return format!("{monitor}/{}", target.kind.name);
        }
        let host = target.host_port();
        match hosts.get(&host) {
            Some(1) => format!("{monitor}/{host}"),
            _ => format!("{monitor}/{}", target.url),
        }
    };
    targets.map(name).collect()
}
