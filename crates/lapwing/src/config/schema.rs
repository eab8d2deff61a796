//! The configuration as JSON Schema (draft 2020-12), for editors. Made from the tables of keys, kinds and notifiers;
//! it knows no key of its own.

use lapwing_core::kind::{HEARTBEAT, OptionInfo, OptionType};
use lapwing_notify::{NOTIFIERS, NotifierInfo};
use serde_json::{Map, Value, json};

use super::{
    command_line::kinds,
    heartbeat,
    keys::{self, Key, KeyType},
};

/// A number and a unit, once or more, or a variable.
const DURATION: &str = "^\\s*([0-9]+(\\.[0-9]+)?\\s*(us|µs|ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)\\s*)+$|\\$\\{";
const SIZE: &str = "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\\s*$|\\$\\{";

/// The schema.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let defaults = keys::MONITOR.iter().filter(|k| k.in_defaults);
    properties.insert(
        "defaults".to_owned(),
        described(
            monitor(defaults, heartbeat::OWN),
            "Values for all monitors that do not give their own.",
        ),
    );
    let mut one = monitor(keys::MONITOR.iter(), &[]);
    one["required"] = json!(["name"]);
    one["oneOf"] = json!([{ "required": ["target"] }, { "required": ["targets"] }]);
    properties.insert(
        "monitor".to_owned(),
        json!({ "type": "array", "items": one, "description": "What is watched." }),
    );
    let notifiers: Vec<_> = NOTIFIERS.iter().map(|k| notifier(k.info)).collect();
    properties.insert(
        "notify".to_owned(),
        json!({
            "type": "object",
            "description": "Who is told: [notify.NAME].",
            "additionalProperties": { "oneOf": notifiers },
        }),
    );
    for table in keys::TABLES {
        properties.insert(
            table.name.to_owned(),
            described(object(table.keys.iter().map(named)), table.doc),
        );
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lapwing configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The keys of a monitor, with the options of all kinds but those to leave out: each by its name, and below its kind.
fn monitor<'k>(own: impl Iterator<Item = &'k Key>, without: &[&str]) -> Value {
    let mut properties: Map<String, Value> = own.map(named).collect();
    let keyed: Vec<_> = properties.keys().cloned().collect();
    for info in kinds() {
        let new = |o: &&OptionInfo| !without.contains(&o.name) && !keyed.iter().any(|k| k == o.name);
        for option in info.options.iter().filter(new) {
            let schema = described(value_of(option), &format!("{}: {}", info.name, option.doc));
            merge(&mut properties, option.name, schema);
        }
    }
    for info in kinds() {
        // A heartbeat is not probed.
        let probe = keys::PROBE_KEYS
            .iter()
            .filter(|_| info.name != HEARTBEAT.name)
            .filter_map(|name| keys::monitor(name))
            .map(named);
        let options = info
            .options
            .iter()
            .filter(|o| !without.contains(&o.name))
            .map(|o| (o.name.to_owned(), described(value_of(o), o.doc)));
        let schema = described(
            object(probe.chain(options)),
            &format!("Options for the {} targets alone.", info.name),
        );
        merge(&mut properties, info.name, schema);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// Two meanings of one name stand side by side.
fn merge(properties: &mut Map<String, Value>, name: &str, schema: Value) {
    let Some(there) = properties.get_mut(name) else {
        properties.insert(name.to_owned(), schema);
        return;
    };
    match there.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(several) if several.iter().all(|s| s.get("description").is_some()) => several.push(schema),
        _ => *there = json!({ "anyOf": [there.clone(), schema] }),
    }
}

fn notifier(info: &NotifierInfo) -> Value {
    let options = info
        .all_options()
        .map(|o| (o.name.to_owned(), described(value_of(o), o.doc)));
    let kind = ("type".to_owned(), json!({ "const": info.name }));
    let mut schema = described(object(std::iter::once(kind).chain(options)), info.summary);
    let required: Vec<_> = std::iter::once("type")
        .chain(info.required.iter().copied())
        .collect();
    schema["required"] = json!(required);
    schema
}

fn object(properties: impl Iterator<Item = (String, Value)>) -> Value {
    json!({ "type": "object", "properties": properties.collect::<Map<_, _>>(), "additionalProperties": false })
}

fn described(mut schema: Value, doc: &str) -> Value {
    schema["description"] = json!(doc);
    schema
}

fn named(key: &Key) -> (String, Value) {
    let mut schema = described(value(key), key.doc);
    if !key.default.is_empty() {
        // The same notation as TOML where it is a value; else words for people.
        match serde_json::from_str::<Value>(key.default) {
            Ok(default) => schema["default"] = default,
            Err(_) => schema["description"] = json!(format!("{} Default: {}.", key.doc, key.default)),
        }
    }
    (key.name.to_owned(), schema)
}

fn value(key: &Key) -> Value {
    let text = || json!({ "type": "string" });
    let duration = || json!({ "type": "string", "pattern": DURATION });
    let list = |items: Value| json!({ "anyOf": [items.clone(), { "type": "array", "items": items }] });
    let variable = |number: Value| json!({ "anyOf": [number, { "type": "string", "pattern": "\\$\\{" }] });
    match key.ty {
        KeyType::Text | KeyType::Path | KeyType::Zone | KeyType::Listen => text(),
        KeyType::Duration => duration(),
        KeyType::Integer { min, max } => {
            variable(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        KeyType::Number { min, max } => variable(json!({ "type": "number", "minimum": min, "maximum": max })),
        KeyType::Flag => json!({ "type": "boolean" }),
        KeyType::Choice(words) => json!({ "enum": words }),
        KeyType::Texts => list(text()),
        KeyType::Durations => list(duration()),
        KeyType::Labels => json!({ "type": "object", "additionalProperties": text() }),
        KeyType::Size => json!({ "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": SIZE }] }),
        KeyType::Table(keys) => {
            let mut schema = object(keys.iter().map(named));
            let required: Vec<_> = keys
                .iter()
                .filter(|k| k.default.is_empty())
                .map(|k| k.name)
                .collect();
            schema["required"] = json!(required);
            schema
        }
    }
}

/// What an option may be: a text can come from a file too.
fn value_of(option: &OptionInfo) -> Value {
    let text = json!({ "type": "string" });
    let file = json!({
        "type": "object",
        "properties": { "file": text },
        "required": ["file"],
        "additionalProperties": false,
    });
    let or_text = |other: Value| json!({ "anyOf": [other, text, file] });
    match option.ty {
        OptionType::Text => or_text(json!({ "type": ["number", "boolean"] })),
        OptionType::Path | OptionType::Output | OptionType::Secret => json!({ "anyOf": [text, file] }),
        OptionType::Secrets => {
            let elsewhere = json!({ "anyOf": [{ "type": "string", "pattern": "^\\$\\{[^${}]+\\}$" }, file] });
            json!({ "anyOf": [elsewhere, { "type": "array", "items": elsewhere }] })
        }
        OptionType::Flag => or_text(json!({ "type": "boolean" })),
        OptionType::Integer => or_text(json!({ "type": "integer" })),
        OptionType::Number => or_text(json!({ "type": "number" })),
        OptionType::Duration => json!({ "anyOf": [{ "type": "string", "pattern": DURATION }, file] }),
        OptionType::Choice(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": "\\$\\{" }] })
        }
        OptionType::List => or_text(json!({ "type": "array", "items": { "type": ["string", "number"] } })),
        OptionType::Pairs => json!({
            "anyOf": [
                { "type": "object", "additionalProperties": { "anyOf": [text, file] } },
                text,
                { "type": "array", "items": text },
            ],
        }),
    }
}
