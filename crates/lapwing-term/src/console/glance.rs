//! The state at a glance: what stands in the prompt, and the words of the greeting.

use std::collections::BTreeMap;

use crate::console::words::quoted;

/// Narrower terminals get a shorter prompt.
const NARROW: usize = 40;
/// Names of what is down that the greeting tells.
const NAMES: usize = 5;

/// What the prompt tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// False while no daemon answers.
    pub attached: bool,
    pub down: usize,
}

impl Glance {
    pub fn new(counts: &BTreeMap<String, usize>) -> Self {
        Self {
            attached: true,
            down: counts.get("down").copied().unwrap_or_default(),
        }
    }

    /// `lapwing 2 down`, without what closes it.
    pub fn words(&self, width: usize) -> String {
        let state = match self {
            Self { attached: false, .. } => "no daemon".to_owned(),
            Self { down: 0, .. } => String::new(),
            Self { down, .. } => format!("{down} down"),
        };
        match (state.as_str(), width < NARROW) {
            ("", true) => "lw".to_owned(),
            ("", false) => "lapwing".to_owned(),
            (_, true) => state,
            (_, false) => format!("lapwing {state}"),
        }
    }
}

/// The first words of a console: what is watched, what of it is down, and how to go on.
pub fn greeting(version: &str, total: usize, glance: &Glance, down: &[String]) -> String {
    let watched = match total {
        0 => "nothing is watched yet; `add NAME TARGET` begins".to_owned(),
        _ => format!("{total} watched"),
    };
    let mut text = format!("Lapwing {version}: {watched}");
    if glance.down > 0 {
        let names: Vec<String> = down.iter().take(NAMES).map(|name| quoted(name)).collect();
        let more = if glance.down > names.len() { ", …" } else { "" };
        text.push_str(&format!(", {} down ({}{more})", glance.down, names.join(", ")));
    } else if total > 0 {
        text.push_str(", nothing down");
    }
    text + ".\nTab completes, `help` tells what there is, Ctrl-D leaves.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_tells_what_is_down() {
        let of = |attached, down| Glance { attached, down };
        for (glance, wide, narrow) in [
            (of(true, 0), "lapwing", "lw"),
            (of(true, 2), "lapwing 2 down", "2 down"),
            (of(false, 2), "lapwing no daemon", "no daemon"),
        ] {
            assert_eq!(
                (glance.words(80), glance.words(20)),
                (wide.into(), narrow.into()),
                "{glance:?}"
            );
        }
        let counts = BTreeMap::from([("down".to_owned(), 3), ("up".to_owned(), 1)]);
        assert_eq!(Glance::new(&counts), of(true, 3));
    }

    #[test]
    fn the_greeting_names_what_is_down() {
        let none = Glance::new(&BTreeMap::new());
        assert!(greeting("1.2.3", 0, &none, &[]).starts_with("Lapwing 1.2.3: nothing is watched yet; `add"));
        assert!(greeting("1.2.3", 4, &none, &[]).starts_with("Lapwing 1.2.3: 4 watched, nothing down.\n"));
        let two = Glance {
            attached: true,
            down: 2,
        };
        let names = ["db".to_owned(), "my web".to_owned()];
        assert!(greeting("1", 4, &two, &names).contains("4 watched, 2 down (db, 'my web')."));
        assert!(greeting("1", 4, &two, &names[..1]).contains("2 down (db, …)."));
    }
}
