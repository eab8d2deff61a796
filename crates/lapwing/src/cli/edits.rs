//! What `add`, `edit` and `remove` have in common: keys as people write them on a command line, and what is said of it.

use lapwing_api::monitors::{EditedShape, Keys};
use lapwing_core::kind::OptionType;
use serde_json::Value;

use super::Failure;
use crate::{
    config::{
        self, Environment,
        keys::{self, KeyType},
    },
    edits::text,
    out,
};

/// `KEY=VALUE` pairs as the keys of a monitor: `loss.window=300` is a part of `loss`. Of one key twice, the last counts.
pub fn keys(pairs: &[(String, String)]) -> Result<Keys, Failure> {
    let mut all = Keys::new();
    for (key, value) in pairs {
        put(&mut all, key, value_of(key, value))?;
    }
    Ok(all)
}

/// Puts a value under a key with dots.
pub fn put(all: &mut Keys, key: &str, value: Value) -> Result<(), Failure> {
    if key.split('.').any(str::is_empty) {
        return Err(Failure::usage(format!(
            "\"{key}\" is not a key: write KEY=VALUE, like interval=60s"
        )));
    }
    let nested = key.rsplit('.').fold(value, |inner, part| {
        Value::Object(Keys::from_iter([(part.to_owned(), inner)]))
    });
    if let Value::Object(nested) = nested {
        join(all, nested);
    }
    Ok(())
}

fn join(all: &mut Keys, more: Keys) {
    for (key, value) in more {
        match (all.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) => join(there, more),
            (_, value) => drop(all.insert(key, value)),
        }
    }
}

/// A value as its key takes it: a TOML list, table or quoted text as it is, a number where the key wants one, a list
/// where commas stand between several, else the text itself.
fn value_of(key: &str, text: &str) -> Value {
    if text.starts_with(['[', '{', '"', '\''])
        && let Some(value) = text::value(text)
    {
        return value;
    }
    match wants(key) {
        Wants::Number => text::value(text).unwrap_or_else(|| text.into()),
        Wants::List if text.is_empty() => Value::Array(Vec::new()),
        Wants::List => text.split(',').map(|part| Value::from(part.trim())).collect(),
        Wants::Text => text.into(),
    }
}

enum Wants {
    Text,
    Number,
    List,
}

fn wants(key: &str) -> Wants {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let own = match keys::monitor(first).map(|key| key.ty) {
        Some(KeyType::Table(inner)) => keys::find(inner, rest).map(|key| key.ty),
        own => own.filter(|_| rest.is_empty()),
    };
    match own {
        Some(KeyType::Integer { .. } | KeyType::Number { .. } | KeyType::Flag) => return Wants::Number,
        Some(KeyType::Texts | KeyType::Durations) => return Wants::List,
        Some(_) => return Wants::Text,
        None => {}
    }
    let name = if rest.is_empty() { first } else { rest };
    let kinds = config::kinds();
    let mut options = kinds.iter().flat_map(|kind| kind.options);
    let number = |ty| matches!(ty, OptionType::Integer | OptionType::Number | OptionType::Flag);
    if options.any(|option| option.name == name && number(option.ty)) {
        Wants::Number
    } else {
        Wants::Text
    }
}

/// The keys that say what is watched: one target, or several.
pub fn targets(all: &mut Keys, targets: &[String]) {
    match targets {
        [] => {}
        [one] => drop(all.insert("target".to_owned(), one.as_str().into())),
        many => drop(all.insert("targets".to_owned(), many.into())),
    }
}

/// Who asks: behind sudo that person; else the daemon sees by itself.
pub fn by(environment: &Environment) -> Option<String> {
    let sudo = environment.get("SUDO_USER").filter(|name| !name.is_empty());
    sudo.map(ToOwned::to_owned)
}

pub fn tell(done: &EditedShape, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string(done).map_err(anyhow::Error::from)?
    } else {
        done.text.clone()
    };
    out::print(&(text + "\n"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_their_keys_take() {
        for (key, text, expected) in [
            ("interval", "60s", json!("60s")),
            ("failure_threshold", "5", json!(5)),
            ("failure_threshold", "often", json!("often")),
            ("loss.change", "0.5", json!(0.5)),
            (
                "loss",
                "{ window = 300, change = 5 }",
                json!({ "window": 300, "change": 5 }),
            ),
            ("notify", "ops, mail", json!(["ops", "mail"])),
            ("notify", "", json!([])),
            ("notify", "[\"ops\"]", json!(["ops"])),
            ("remind", "10m,1h", json!(["10m", "1h"])),
            ("expect_body", "5", json!("5")),
            ("expect_body", "\"5\"", json!("5")),
            ("expect_body", "[not a list", json!("[not a list")),
            ("expect_body", "\"a\"\nname = \"b\"", json!("\"a\"\nname = \"b\"")),
            ("count", "5", json!(5)),
            ("icmp.count", "5", json!(5)),
            ("insecure", "true", json!(true)),
            ("status", "200-299,301", json!("200-299,301")),
            ("labels.team", "5", json!("5")),
            ("unheard_of", "5", json!("5")),
        ] {
            assert_eq!(value_of(key, text), expected, "{key} = {text}");
        }
    }

    #[test]
    fn dots_make_tables() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = keys(&[
            pair("loss.window", "10"),
            pair("loss.change", "1"),
            pair("interval", "1s"),
            pair("interval", "2s"),
        ]);
        let expected = json!({ "loss": { "window": 10, "change": 1 }, "interval": "2s" });
        assert_eq!(Value::Object(all.unwrap()), expected);
        for bad in ["", ".", "a..b", "a."] {
            assert!(keys(&[pair(bad, "x")]).is_err(), "{bad}");
        }
    }
}
