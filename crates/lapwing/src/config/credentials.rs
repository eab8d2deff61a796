//! Secret files that a service is handed by systemd: which ones a configuration names. Reads no secret.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::Value;

use super::locate;

/// Whether systemd takes it for the name of a credential (systemd.exec(5)).
pub fn is_credential(name: &str) -> bool {
    let plain = |c: char| !c.is_control() && !"/:".contains(c);
    (1..=255).contains(&name.len()) && name.chars().all(plain) && ![".", ".."].contains(&name)
}

/// Each `{ file = "NAME" }` of the configuration at `path` whose file lies beside it, in order, once. What cannot be
/// read is left out: whoever loads the configuration says why.
pub fn secret_files(path: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for file in locate::files(path).unwrap_or_default() {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut names = Vec::new();
        if let Ok(table) = text.parse::<toml::Table>() {
            table.values().for_each(|value| collect(value, &mut names));
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        for name in names {
            let secret = folder.join(&name);
            if is_credential(&name) && secret.is_file() && !found.iter().any(|(other, _)| *other == name) {
                found.push((name, secret));
            }
        }
    }
    found
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Table(table) => match table.get("file") {
            Some(Value::String(name)) if table.len() == 1 => names.push(name.clone()),
            _ => table.values().for_each(|inner| collect(inner, names)),
        },
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_files_beside_a_configuration_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["slack.url", "old.key", "new.key", "telegram.token"] {
            fs::write(at(name), "x").unwrap();
        }
        let text = "[notify.a]\nurl = { file = \"slack.url\" }\nheaders = { file = \"not a secret\", x = \"y\" }\n\
            [notify.b]\ntoken = { file = \"${CREDENTIALS_DIRECTORY}/telegram.token\" }\n\
            [notify.c]\npassword = { file = \"/etc/passwd\" }\n\
            [[monitor]]\nkey = [{ file = \"new.key\" }, { file = \"old.key\" }]\n\
            [[monitor]]\nkey = { file = \"new.key\" }\ngone = { file = \"gone\" }\n";
        fs::write(at("lapwing.toml"), text).unwrap();
        let expected: Vec<_> = ["slack.url", "new.key", "old.key"]
            .map(|name| (name.to_owned(), at(name)))
            .into();
        let mut found = secret_files(&at("lapwing.toml"));
        found.sort_by_key(|(name, _)| expected.iter().position(|(other, _)| other == name));
        assert_eq!(found, expected);
        fs::write(at("z.toml"), "this is not TOML").unwrap();
        assert_eq!(secret_files(folder.path()).len(), 3);
        assert!(secret_files(&at("nothing.toml")).is_empty());
    }

    #[test]
    fn names_of_credentials_are_file_names() {
        assert!(is_credential("slack.url"));
        for name in ["", ".", "..", "a/b", "a:b", "a\nb", &"x".repeat(256)] {
            assert!(!is_credential(name), "{name:?}");
        }
    }
}
