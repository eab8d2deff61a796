//! The keys of a monitor as JSON, and as the TOML of one `[[monitor]]`. What is written is read back the same.

use lapwing_api::monitors::Keys;
use serde_json::{Number, Value as Json};
use toml::Value as Toml;

use crate::config::{self, keys};

const HEAD: &str = "[[monitor]]\n";

/// These keys as TOML, a line each: the name first, then as the reference lists them. A key that is null is left out.
pub fn toml(keys: &Keys) -> Result<String, String> {
    let mut given: Vec<_> = keys.iter().filter(|(_, value)| !value.is_null()).collect();
    let place = |key: &str| keys::MONITOR.iter().position(|known| known.name == key);
    given.sort_by_key(|(key, _)| (place(key).unwrap_or(usize::MAX), key.as_str()));
    let mut text = HEAD.to_owned();
    for (key, value) in given {
        let value = value_of(key, value)?;
        text.push_str(&format!("{} = {value}\n", config::key(key)));
    }
    Ok(text)
}

/// The keys of a text of [`toml`].
pub fn keys(text: &str) -> Result<Keys, String> {
    let unread = || "what was added cannot be read".to_owned();
    let mut table: toml::Table = text.parse().map_err(|_| unread())?;
    let monitor = table.remove("monitor").and_then(|all| match all {
        Toml::Array(mut all) if all.len() == 1 => all.pop(),
        _ => None,
    });
    match monitor.map(json) {
        Some(Json::Object(keys)) => Ok(keys),
        _ => Err(unread()),
    }
}

/// Changes `keys` as `set` says (RFC 7396).
pub fn merge(keys: &mut Keys, set: Keys) {
    for (key, value) in set {
        match value {
            Json::Null => drop(keys.remove(&key)),
            Json::Object(set) => {
                let inner = keys.entry(key).or_insert_with(|| Json::Object(Keys::new()));
                if !inner.is_object() {
                    *inner = Json::Object(Keys::new());
                }
                if let Json::Object(inner) = inner {
                    merge(inner, set);
                }
            }
            value => drop(keys.insert(key, value)),
        }
    }
}

/// A single value as TOML writes it; None where the text is none.
pub fn value(text: &str) -> Option<Json> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    let alone = table.len() == 1;
    table.remove("value").filter(|_| alone).map(json)
}

fn value_of(key: &str, value: &Json) -> Result<Toml, String> {
    Ok(match value {
        Json::Null => return Err(format!("{key} holds null, which is no value")),
        Json::Bool(flag) => Toml::Boolean(*flag),
        Json::Number(number) => number_of(key, number)?,
        Json::String(text) => Toml::String(text.clone()),
        Json::Array(items) => Toml::Array(items.iter().map(|v| value_of(key, v)).collect::<Result<_, _>>()?),
        Json::Object(entries) => {
            let entries = entries.iter().filter(|(_, value)| !value.is_null());
            let read = entries.map(|(key, value)| Ok((key.clone(), value_of(key, value)?)));
            Toml::Table(read.collect::<Result<_, String>>()?)
        }
    })
}

fn number_of(key: &str, number: &Number) -> Result<Toml, String> {
    if let Some(whole) = number.as_i64() {
        return Ok(Toml::Integer(whole));
    }
    let fraction = number.as_f64().filter(|_| !number.is_u64());
    fraction
        .map(Toml::Float)
        .ok_or_else(|| format!("{key} = {number} is too large"))
}

fn json(value: Toml) -> Json {
    match value {
        Toml::String(text) => Json::String(text),
        Toml::Integer(number) => number.into(),
        Toml::Float(number) => Number::from_f64(number).map_or(Json::Null, Json::Number),
        Toml::Boolean(flag) => flag.into(),
        Toml::Datetime(date) => Json::String(date.to_string()),
        Toml::Array(items) => items.into_iter().map(json).collect(),
        Toml::Table(table) => Json::Object(table.into_iter().map(|(key, v)| (key, json(v))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Json) -> Keys {
        let Json::Object(keys) = value else {
            panic!("no object")
        };
        keys
    }

    #[test]
    fn what_is_written_is_read_back() {
        let all = object(json!({
            "expect_body": "a \"quote\",\n a line, \u{1b}[31m and ü",
            "interval": "1m",
            "status": 200,
            "loss": { "window": 300, "change": 0.5 },
            "headers": { "x y": "1", "b": "${TOKEN}" },
            "labels": { "": "empty" },
            "insecure": true,
            "targets": ["http://a/", "icmp://a"],
            "big": i64::MIN,
            "name": "web",
            "gone": null,
        }));
        let text = toml(&all).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "[[monitor]]",
                "name = \"web\"",
                "targets = [\"http://a/\", \"icmp://a\"]",
                "interval = \"1m\""
            ]
        );
        assert!(
            text.contains("\nloss = { change = 0.5, window = 300 }\n"),
            "{text}"
        );
        let mut expected = all;
        expected.remove("gone");
        assert_eq!(keys(&text).unwrap(), expected);
        assert_eq!(toml(&keys(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn what_has_no_value_in_toml_is_refused() {
        for (bad, says) in [
            (json!({ "a": [null] }), "a holds null"),
            (json!({ "a": u64::MAX }), "is too large"),
        ] {
            let error = toml(&object(bad)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        for bad in ["", "x", "[[monitor]]\n[[monitor]]\n", "[monitor]\nname = 1\n"] {
            assert_eq!(keys(bad).unwrap_err(), "what was added cannot be read", "{bad}");
        }
    }

    #[test]
    fn a_change_is_a_merge_patch() {
        let mut keys = object(json!({ "a": { "b": 1, "c": 2 }, "d": "e", "f": [1] }));
        merge(
            &mut keys,
            object(
                json!({ "a": { "b": null, "x": { "y": null, "z": 1 } }, "d": null, "f": [2], "gone": null }),
            ),
        );
        assert_eq!(
            keys,
            object(json!({ "a": { "c": 2, "x": { "z": 1 } }, "f": [2] }))
        );
    }
}
