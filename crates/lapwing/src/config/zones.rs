//! Time zones by name. Each is looked up once.

use jiff::tz::TimeZone;
use lapwing_core::kind::nearest;

use super::{
    keys::Key,
    value::{Node, Reading},
};

impl Reading<'_> {
    /// A time zone by its name.
    pub(super) fn zone(&mut self, node: Node<'_>, key: &Key) -> Option<(String, TimeZone)> {
        let name = self.text(node, key)?;
        if let Some(zone) = self.zones.get(&name) {
            return Some((name, zone.clone()));
        }
        if let Ok(zone) = TimeZone::get(&name) {
            self.zones.insert(name.clone(), zone.clone());
            return Some((name, zone));
        }
        let known: Vec<String> = jiff::tz::db().available().map(|n| n.to_string()).collect();
        let message = format!("there is no time zone \"{name}\"");
        let hint = match near_zone(&name, &known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "a name of the IANA database, for example \"Europe/Berlin\" or \"UTC\"".to_owned(),
        };
        self.error(node.at, message, hint);
        None
    }
}

/// The zone nearest to a name, by the whole name or, where that has no region, by the city.
fn near_zone<'z>(name: &str, known: &'z [String]) -> Option<&'z str> {
    let wanted = name.to_lowercase().replace(' ', "_");
    let lower: Vec<_> = known.iter().map(|k| k.to_lowercase()).collect();
    let cities: Vec<_> = lower.iter().map(|k| k.rsplit('/').next().unwrap_or(k)).collect();
    let exact = lower
        .iter()
        .position(|k| *k == wanted)
        .or_else(|| cities.iter().position(|c| *c == wanted));
    let near = || {
        let whole = nearest(&wanted, lower.iter().map(String::as_str));
        whole.and_then(|near| lower.iter().position(|k| k == near))
    };
    let near_city =
        || nearest(&wanted, cities.iter().copied()).and_then(|near| cities.iter().position(|c| *c == near));
    exact
        .or_else(near)
        .or_else(near_city)
        .map(|at| known[at].as_str())
}
