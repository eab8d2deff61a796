//! What `add`, `edit` and `remove` have in common: keys as people write them on a command line, and what is said of it.

use clap::Args;
use lapwing_api::monitors::{EditedShape, Keys};
use lapwing_core::kind::{OptionType, nearest};
use serde_json::Value;

use super::{Failure, check::pair};
use crate::{
    config::{
        self, Environment,
        keys::{self, KeyType},
    },
    edits::text,
    out,
};

/// The keys of a monitor as flags.
#[derive(Debug, Default, Args)]
pub struct KeyArgs {
    /// A key of the monitor, as in a configuration: -o failure_threshold=5, or for one kind -o icmp.count=5
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = pair)]
    option: Vec<(String, String)>,
    /// Time between checks, such as 60s
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,
    /// Who is told; as often as there are [default: as the configuration says]
    #[arg(long, value_name = "NOTIFIER")]
    notify: Vec<String>,
    /// A label; as often as there are
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
}

impl KeyArgs {
    /// All keys that are given.
    pub fn given(&self) -> Result<Given, Failure> {
        let mut given = Given::default();
        for (key, value) in &self.option {
            given.put(&format!("-o {key}"), key, value_of(key, value))?;
        }
        if let Some(interval) = &self.interval {
            given.put("--interval", "interval", interval.as_str().into())?;
        }
        if !self.notify.is_empty() {
            given.put("--notify", "notify", self.notify.as_slice().into())?;
        }
        for (name, value) in &self.label {
            let path = ["labels", name];
            given.put_at(&format!("--label {name}"), &path, value.as_str().into())?;
        }
        Ok(given)
    }
}

/// Keys, and which argument gave each: none is given twice.
#[derive(Default)]
pub struct Given {
    pub keys: Keys,
    /// The argument as people write it, and the path of its key.
    from: Vec<(String, Vec<String>)>,
}

impl Given {
    /// Puts a value under a key with dots: `loss.window` is a part of `loss`.
    pub fn put(&mut self, argument: &str, key: &str, value: Value) -> Result<(), Failure> {
        let path: Vec<&str> = key.split('.').collect();
        if path.contains(&"") {
            return Err(Failure::usage(format!(
                "\"{key}\" is not a key: write KEY=VALUE, like interval=60s"
            )));
        }
        self.put_at(argument, &path, value)
    }

    fn put_at(&mut self, argument: &str, path: &[&str], value: Value) -> Result<(), Failure> {
        let nested = path.iter().rev().fold(value, |inner, part| {
            Value::Object(Keys::from_iter([((*part).to_owned(), inner)]))
        });
        if let Value::Object(nested) = nested
            && !join(&mut self.keys, nested)
        {
            return Err(self.twice(argument, path));
        }
        let path = path.iter().map(ToString::to_string).collect();
        self.from.push((argument.to_owned(), path));
        Ok(())
    }

    fn twice(&self, argument: &str, path: &[&str]) -> Failure {
        let is_same = |(_, other): &&(String, Vec<String>)| path.iter().zip(other).all(|(a, b)| a == b);
        let first = self
            .from
            .iter()
            .find(is_same)
            .map_or(argument, |(first, _)| first);
        Failure::usage(if first == argument {
            format!("{argument} and {argument} are the same key given twice; leave one out")
        } else {
            format!("{first} and {argument} give the same key; leave one out")
        })
    }
}

/// False where a value would take the place of another one.
fn join(all: &mut Keys, more: Keys) -> bool {
    more.into_iter()
        .all(|(key, value)| match (all.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) => join(there, more),
            (Some(_), _) => false,
            (None, value) => all.insert(key, value).is_none(),
        })
}

/// Whether a key that is to be taken out is set among `keys`; else why not.
pub fn is_set(keys: &Keys, key: &str) -> Result<(), Failure> {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| keys.get(part));
    let found = parts.fold(first, |value, part| value?.get(part));
    if found.is_some() {
        return Ok(());
    }
    let known = known(key);
    if known.is_empty() {
        return Err(Failure::usage(format!("{key} is not set")));
    }
    let hint = nearest(key, known.iter().map(String::as_str))
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default();
    Err(Failure::usage(format!(
        "\"{key}\" is neither a key of a monitor nor an option{hint}"
    )))
}

/// What can stand in place of a key that nothing has; empty where it is one.
fn known(key: &str) -> Vec<String> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let kinds = config::kinds();
    let inner: Vec<&str> = match keys::monitor(first).map(|key| key.ty) {
        Some(KeyType::Table(inner)) => inner.iter().map(|key| key.name).collect(),
        Some(_) => return Vec::new(),
        None => kinds
            .iter()
            .filter(|kind| kind.name == first)
            .flat_map(|kind| kind.options)
            .map(|option| option.name)
            .collect(),
    };
    let options = kinds
        .iter()
        .flat_map(|kind| kind.options)
        .map(|option| option.name);
    let all: Vec<&str> = keys::MONITOR.iter().map(|key| key.name).chain(options).collect();
    let part = rest.split('.').next().unwrap_or_default();
    if inner.is_empty() && !all.contains(&first) {
        all.into_iter().map(ToOwned::to_owned).collect()
    } else if inner.is_empty() || part.is_empty() || inner.contains(&part) {
        Vec::new()
    } else {
        inner.into_iter().map(|name| format!("{first}.{name}")).collect()
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
pub fn targets(given: &mut Given, targets: &[String]) -> Result<(), Failure> {
    if let Some(other) = ["target", "targets"]
        .iter()
        .find(|key| given.keys.contains_key(**key))
    {
        return Err(Failure::usage(format!(
            "TARGET and -o {other} give the same key; leave one out"
        )));
    }
    match targets {
        [one] => given.put("TARGET", "target", one.as_str().into()),
        many => given.put("TARGET", "targets", many.into()),
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

    fn given(option: &[(&str, &str)], more: KeyArgs) -> Result<Keys, String> {
        let option = option.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let args = KeyArgs {
            option: option.collect(),
            ..more
        };
        args.given()
            .map(|given| given.keys)
            .map_err(|failure| failure.text)
    }

    #[test]
    fn dots_make_tables() {
        let option = [("loss.window", "10"), ("loss.change", "1"), ("interval", "1s")];
        let expected = json!({ "loss": { "window": 10, "change": 1 }, "interval": "1s" });
        assert_eq!(
            given(&option, KeyArgs::default()).map(Value::Object),
            Ok(expected)
        );
        for bad in ["", ".", "a..b", "a."] {
            assert!(given(&[(bad, "x")], KeyArgs::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_given_once() {
        let label = |value: &str| ("a.b".to_owned(), value.to_owned());
        let flags = || KeyArgs {
            interval: Some("5s".to_owned()),
            notify: vec!["mail".to_owned(), "ops".to_owned()],
            label: vec![label("c")],
            ..KeyArgs::default()
        };
        let all = json!({ "interval": "5s", "notify": ["mail", "ops"], "labels": { "a.b": "c", "x": "1" } });
        assert_eq!(given(&[("labels.x", "1")], flags()).map(Value::Object), Ok(all));
        let labels = || KeyArgs {
            label: vec![label("c"), label("d")],
            ..KeyArgs::default()
        };
        for (option, more, names) in [
            (&[("interval", "6s")][..], flags(), "-o interval and --interval "),
            (&[("notify", "file")], flags(), "-o notify and --notify "),
            (
                &[("labels", "{ \"a.b\" = \"d\" }")],
                flags(),
                "-o labels and --label a.b ",
            ),
            (&[], labels(), "--label a.b and --label a.b "),
            (
                &[("interval", "1s"), ("timeout", "1s"), ("interval", "1s")],
                KeyArgs::default(),
                "-o interval and -o interval ",
            ),
            (
                &[("loss", "{ window = 300 }"), ("loss.window", "3")],
                KeyArgs::default(),
                "-o loss and -o loss.window ",
            ),
            (
                &[("loss.window", "3"), ("loss", "1")],
                KeyArgs::default(),
                "-o loss.window and -o loss ",
            ),
        ] {
            let why = given(option, more).unwrap_err();
            assert!(why.starts_with(names), "{why}");
        }
    }

    #[test]
    fn only_what_is_set_is_taken_out() {
        let Value::Object(keys) = json!({ "expect": "x", "labels": { "a": "b" }, "gone": "1" }) else {
            panic!("no table");
        };
        for key in ["expect", "labels", "labels.a", "gone"] {
            assert!(is_set(&keys, key).is_ok(), "{key}");
        }
        for (key, says) in [
            ("interval", "interval is not set"),
            ("labels.b", "labels.b is not set"),
            ("expect.x", "expect.x is not set"),
            ("loss.window", "loss.window is not set"),
            ("icmp", "icmp is not set"),
            ("icmp.count", "icmp.count is not set"),
            ("headers.Accept", "headers.Accept is not set"),
            (
                "intervall",
                "\"intervall\" is neither a key of a monitor nor an option; did you mean \"interval\"?",
            ),
            (
                "loss.windw",
                "\"loss.windw\" is neither a key of a monitor nor an option; did you mean \"loss.window\"?",
            ),
            (
                "icmp.cont",
                "\"icmp.cont\" is neither a key of a monitor nor an option; did you mean \"icmp.count\"?",
            ),
        ] {
            assert_eq!(is_set(&keys, key).unwrap_err().text, says);
        }
    }
}
