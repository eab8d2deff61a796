//! What an added monitor may not say, for it is stored and shown, and the daemon would read files for whoever asks: no
//! secret stands in it, it names no file, and variables stand only where their values are not shown.

use lapwing_core::{
    kind::{KindInfo, OptionType},
    target::{Target, TargetError},
};
use toml::de::DeValue;

use super::{
    diagnostic::Place,
    value::{Node, Reading, is_file, is_variable, items, nodes},
};

/// Why an added monitor names no file: the daemon would read it for whoever asks.
pub(super) const NO_FILES: &str = "an added monitor reads no files";
/// What to do about a secret in a file.
pub(super) const NO_SECRET_FILE: &str = "write \"${NAME}\" for a variable that the daemon was started with, or write this monitor into a configuration file";
const NO_PATH: &str = "write this monitor into a configuration file, or this option into [defaults] there";

impl Reading<'_> {
    /// A secret that stands in the configuration itself is refused.
    pub(super) fn no_literals(&mut self, node: Node<'_>) -> Option<()> {
        let elsewhere = |value: &DeValue<'_>| match value {
            DeValue::String(text) => is_variable(text),
            DeValue::Table(table) => is_file(table),
            _ => false,
        };
        let literal = items(node).find(|(value, _)| !elsewhere(value));
        let Some((_, at)) = literal else { return Some(()) };
        let message = format!("{} does not stand in {}", node.key, self.itself(at));
        let hint = self.elsewhere(at, node.key);
        self.error(at, message, hint);
        None
    }

    fn itself(&self, at: Place) -> &'static str {
        if self.is_added(at.file) {
            "an added monitor itself, which is stored and shown"
        } else {
            "the configuration itself"
        }
    }

    /// How to give a secret that does not stand there itself.
    pub(super) fn elsewhere(&self, at: Place, name: &str) -> String {
        let variable = format!("write {name} = \"${{NAME}}\" for an environment variable");
        if self.is_added(at.file) {
            format!("{variable} of the daemon")
        } else {
            format!("{variable}, or {name} = {{ file = \"path\" }}")
        }
    }

    /// Refuses a secret in the value of a header, in an added monitor.
    pub(super) fn no_secret_pairs(&mut self, node: Node<'_>) -> Option<()> {
        let open: Vec<(String, Place)> = match node.value {
            DeValue::Table(table) => nodes(node.at.file, table)
                .filter(|pair| tells_secret(pair.key) && !text_of(pair.value).is_some_and(is_from_variable))
                .map(|pair| (pair.key.to_owned(), pair.at))
                .collect(),
            _ => items(node)
                .filter_map(|(value, at)| Some((text_of(value)?.split_once(':')?, at)))
                .filter(|((name, value), _)| tells_secret(name.trim()) && !is_from_variable(value.trim()))
                .map(|((name, _), at)| (name.trim().to_owned(), at))
                .collect(),
        };
        for (name, at) in &open {
            let message = format!("{name} does not stand in {}", self.itself(*at));
            let hint = "write \"${NAME}\", or \"Bearer ${NAME}\", for an environment variable of the daemon";
            self.error(*at, message, hint.to_owned());
        }
        open.is_empty().then_some(())
    }

    /// Refuses a path, in an added monitor. An empty one names no file.
    pub(super) fn no_paths(&mut self, node: Node<'_>) -> Option<()> {
        if text_of(node.value) == Some("") {
            return Some(());
        }
        self.error(node.at, NO_FILES, NO_PATH.to_owned());
        None
    }

    /// Refuses a variable where its value would be shown, in an added monitor: whoever may add one could read all that
    /// the daemon was started with.
    pub(super) fn no_variable(&mut self, at: Place, text: &str) -> Option<()> {
        if !self.is_added(at.file) || !text.replace("$$", "").contains("${") {
            return Some(());
        }
        let message = "no variable can stand here in an added monitor, for what stands here is shown";
        let hint = "write the value itself; ${NAME} may stand in options such as auth and headers";
        self.error(at, message, hint.to_owned());
        None
    }
}

/// Refuses a path in the URL of an added monitor's target.
pub(super) fn no_paths_in_url(target: &Target) -> Result<(), TargetError> {
    if target.options.names().any(|name| is_path(target.kind, name)) {
        return Err(TargetError::new(NO_FILES).hint(NO_PATH));
    }
    Ok(())
}

fn is_path(kind: &KindInfo, option: &str) -> bool {
    let declared = kind.options.iter().find(|o| o.name == option);
    declared.is_some_and(|o| matches!(o.ty, OptionType::Path | OptionType::Output))
}

fn text_of<'t>(value: &'t DeValue<'_>) -> Option<&'t str> {
    match value {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

/// True for the name of a header whose value is a secret.
fn tells_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["authorization", "cookie", "key", "token", "secret", "password"];
    parts.iter().any(|part| name.contains(part))
}

/// `${NAME}`, or a word before it: `Bearer ${NAME}`, `session=${NAME}`.
fn is_from_variable(text: &str) -> bool {
    let Some(at) = text.find("${") else {
        return false;
    };
    let (word, variable) = text.split_at(at);
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_led = word.is_empty()
        || word
            .strip_suffix([' ', '='])
            .is_some_and(|word| !word.is_empty() && word.chars().all(is_word));
    is_led && is_variable(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_before_a_variable_is_one_word() {
        for good in ["${A}", "Bearer ${A}", "session=${A}", "x-y_z ${A_1}"] {
            assert!(is_from_variable(good), "{good}");
        }
        for bad in [
            "",
            "canary",
            "Bearer canary",
            "canary${A}",
            "Bearer canary ${A}",
            "${A}canary",
            "${A}${B}",
            "${A} ",
            "a=b=${A}",
            "$A",
            "$${A}",
        ] {
            assert!(!is_from_variable(bad), "{bad}");
        }
    }

    #[test]
    fn names_that_tell_of_a_secret() {
        for secret in [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "X-Api-Key",
            "PRIVATE-TOKEN",
            "x-secret",
        ] {
            assert!(tells_secret(secret), "{secret}");
        }
        for open in ["Accept", "User-Agent", "Host", "X-Request-Id"] {
            assert!(!tells_secret(open), "{open}");
        }
    }
}
