//! The monitor of the netmonitor scripts: its JSON, key by key. Nothing that it says is left out in silence.

use std::{net::IpAddr, time::Duration};

use lapwing_core::{kind::nearest, time::short};
use serde_json::{Map, Value};

use super::{Imported, PasswordAt};
use crate::config::quoted;

/// Every key of the original.
const KEYS: &[&str] = &[
    "username",
    "password",
    "smtp_server",
    "smtp_port",
    "alert_address",
    "client_log_dir",
    "listen_port",
    "listen_address",
    "down_interval",
];
/// The keywords of a Python timedelta, and their lengths in seconds.
const UNITS: &[(&str, f64)] = &[
    ("weeks", 604_800.0),
    ("days", 86_400.0),
    ("hours", 3_600.0),
    ("minutes", 60.0),
    ("seconds", 1.0),
    ("milliseconds", 1e-3),
    ("microseconds", 1e-6),
];
/// The period of the original's sensor.
const PERIOD: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(366 * 24);
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;

/// What is wrong with the original's file.
#[derive(Debug)]
pub(super) struct Wrong {
    /// From 1; None where it is about no line.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    /// All of it, for the file of this name.
    pub(super) fn at(&self, file: &str) -> String {
        let number = |n: Option<usize>| n.map_or(String::new(), |n| format!(":{n}"));
        let hint = self
            .hint
            .as_ref()
            .map_or(String::new(), |hint| format!("; {hint}"));
        let (line, column) = (number(self.line), number(self.column));
        format!("{file}{line}{column}: {}{hint}", self.message)
    }
}

/// The file, as read.
struct Original<'t> {
    text: &'t str,
    keys: Map<String, Value>,
}

/// What the mail of the original needs.
struct Mail {
    server: String,
    port: u16,
    username: String,
    to: Vec<String>,
}

/// Reads the original's file of this name.
pub(super) fn read(text: &str, name: &str, password_at: &PasswordAt) -> Result<Imported, Wrong> {
    let original = Original::parse(text)?;
    let mut warnings = original.unknown();
    let listen = original.listen()?;
    let down_after = original.down_interval()?;
    let mail = original.mail(&mut warnings)?;
    let password = original.text("password")?.filter(|_| mail.is_some());
    let log_dir = original.text("client_log_dir")?;
    let mut toml = heading(name);
    if let Some(mail) = &mail {
        toml.push_str(&mail.toml(password.is_some().then_some(password_at)));
    }
    if let Some(folder) = log_dir {
        toml.push_str(&log(folder));
    }
    toml.push_str(&heartbeat(&listen, down_after));
    Ok(Imported {
        toml,
        password: password.map(ToOwned::to_owned),
        warnings,
    })
}

impl<'t> Original<'t> {
    fn parse(text: &'t str) -> Result<Self, Wrong> {
        let wrong = |line, column, message: String, hint: &str| Wrong {
            line,
            column,
            message,
            hint: Some(hint.to_owned()),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match serde_json::from_str(text) {
            Ok(Value::Object(keys)) => Ok(Self { text, keys }),
            Ok(_) => {
                let hint = "the monitor's file begins with { and holds keys like \"listen_port\"";
                Err(wrong(
                    Some(1),
                    None,
                    "this is not a table of keys".to_owned(),
                    hint,
                ))
            }
            Err(error) => {
                let message = error.to_string();
                let reason = message.split(" at line ").next().unwrap_or_default();
                let hint =
                    "JSON puts a comma between two keys and none after the last, and quotes \" around texts";
                let column = Some(error.column()).filter(|column| *column > 0);
                Err(wrong(
                    Some(error.line()),
                    column,
                    format!("this is not JSON: {reason}"),
                    hint,
                ))
            }
        }
    }

    /// An error about a key, with its line.
    fn wrong(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) -> Wrong {
        let at = self.text.find(&format!("\"{key}\""));
        Wrong {
            line: at.map(|at| self.text[..at].matches('\n').count() + 1),
            column: None,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// A line for each key that the original does not have.
    fn unknown(&self) -> Vec<String> {
        let unknown = self.keys.keys().filter(|key| !KEYS.contains(&key.as_str()));
        let line = |key: &String| match nearest(key, KEYS.iter().copied()) {
            Some(near) => format!("the key \"{key}\" is not known and is left out; did you mean \"{near}\"?"),
            None => format!("the key \"{key}\" is not known and is left out"),
        };
        unknown.map(line).collect()
    }

    fn given(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// A text that is not empty. Its value stands in no error: it may be the password.
    fn text(&self, key: &str) -> Result<Option<&str>, Wrong> {
        match self.given(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.trim().is_empty())),
            Some(_) => Err(self.wrong(key, format!("{key} is not a text"), "write it in quotes")),
        }
    }

    fn port(&self, key: &str) -> Result<Option<u16>, Wrong> {
        let Some(value) = self.given(key) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64().and_then(|number| u16::try_from(number).ok()),
        };
        match number.filter(|port| *port > 0) {
            Some(port) => Ok(Some(port)),
            None => {
                let message = format!("{key} is {value}, which is not a port");
                Err(self.wrong(key, message, "a port is a number from 1 to 65535"))
            }
        }
    }

    fn listen(&self) -> Result<String, Wrong> {
        let Some(port) = self.port("listen_port")? else {
            let hint = "for example \"listen_port\": 7777, the port that the sensors send to";
            return Err(self.wrong("listen_port", "listen_port is missing", hint));
        };
        let text = self.text("listen_address")?.unwrap_or("0.0.0.0").trim();
        let address = match text {
            "localhost" => "127.0.0.1",
            other => other,
        };
        match address.parse::<IpAddr>() {
            Ok(address) => Ok(std::net::SocketAddr::new(address, port).to_string()),
            Err(_) => {
                let message = format!("listen_address is \"{text}\", which is not an address");
                Err(self.wrong(
                    "listen_address",
                    message,
                    "\"0.0.0.0\" listens on all of IPv4, \"::\" on all",
                ))
            }
        }
    }

    /// The sum of its units.
    fn down_interval(&self) -> Result<Option<Duration>, Wrong> {
        let key = "down_interval";
        let hint = "for example \"down_interval\": {\"minutes\": 3}";
        let Some(value) = self.given(key) else {
            return Ok(None);
        };
        let Value::Object(parts) = value else {
            let message = format!("{key} is not a table of units");
            return Err(self.wrong(key, message, hint));
        };
        let mut seconds = 0.0;
        for (unit, count) in parts {
            let Some((_, length)) = UNITS.iter().find(|(name, _)| name == unit) else {
                let message = format!("{key} has no unit \"{unit}\"");
                let units = UNITS.iter().map(|(name, _)| *name);
                let hint = match nearest(unit, units.clone()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("the units are: {}", units.collect::<Vec<_>>().join(", ")),
                };
                return Err(self.wrong(unit, message, hint));
            };
            let Some(count) = count.as_f64() else {
                let message = format!("{unit} of {key} is not a number");
                return Err(self.wrong(unit, message, hint));
            };
            seconds += count * length;
        }
        let sum = Duration::try_from_secs_f64(seconds).ok();
        // Microseconds are the smallest unit of both.
        let sum = sum.map(|sum| Duration::from_micros(lapwing_core::time::micros(sum)));
        match sum.filter(|sum| (SHORTEST..=LONGEST).contains(sum)) {
            Some(sum) => Ok(Some(sum)),
            None => {
                let message =
                    format!("{key} is {seconds} seconds in all, which is not between 1 second and 366 days");
                Err(self.wrong(key, message, hint))
            }
        }
    }

    /// None, with a warning, where the original could not have sent any.
    fn mail(&self, warnings: &mut Vec<String>) -> Result<Option<Mail>, Wrong> {
        let (server, username) = (self.text("smtp_server")?, self.text("username")?);
        let (port, to) = (self.port("smtp_port")?, self.addresses()?);
        let missing = [
            ("smtp_server", server.is_none()),
            ("username", username.is_none()),
            ("alert_address", to.is_empty()),
        ];
        let missing: Vec<_> = missing
            .iter()
            .filter(|(_, gone)| *gone)
            .map(|(key, _)| *key)
            .collect();
        let (Some(server), Some(username), []) = (server, username, missing.as_slice()) else {
            let missing = missing.join(", ");
            warnings.push(format!(
                "without {missing} there is no mail: nobody is told of an outage"
            ));
            return Ok(None);
        };
        if self.text("password")?.is_none() {
            warnings.push("password is missing: the mail is sent without a login".to_owned());
        }
        Ok(Some(Mail {
            server: server.trim().to_owned(),
            port: port.unwrap_or(SUBMISSION),
            username: username.trim().to_owned(),
            to,
        }))
    }

    /// One address, several with commas between, or a list.
    fn addresses(&self) -> Result<Vec<String>, Wrong> {
        let key = "alert_address";
        let hint = "for example \"alert_address\": \"you@example.com\"";
        let wrong = || {
            self.wrong(
                key,
                format!("{key} is neither an address nor a list of them"),
                hint,
            )
        };
        let texts = match self.given(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
                texts.ok_or_else(wrong)?
            }
            Some(one) => vec![one.as_str().ok_or_else(wrong)?],
        };
        let all = texts.iter().flat_map(|text| text.split(','));
        let all = all.map(|text| text.trim().to_owned());
        Ok(all.filter(|text| !text.is_empty()).collect())
    }
}

impl Mail {
    fn toml(&self, password_at: Option<&PasswordAt>) -> String {
        let tls = if self.port == SUBMISSIONS {
            "implicit"
        } else {
            "starttls"
        };
        // The original sends in the name of whoever logs in.
        let from = if self.username.contains('@') {
            &self.username
        } else {
            &self.to[0]
        };
        let to: Vec<_> = self.to.iter().map(|to| quoted(to)).collect();
        let mut lines = format!(
            "\n[notify.mail]\ntype     = \"email\"\nserver   = {}\nport     = {}\ntls      = \"{tls}\"\nfrom     = {}\n\
             to       = [{}]\n",
            quoted(&self.server),
            self.port,
            quoted(from),
            to.join(", "),
        );
        let login = format!("username = {}\n", quoted(&self.username));
        match password_at {
            None => {}
            Some(PasswordAt::File(path)) => {
                lines.push_str(&format!("{login}password = {{ file = {} }}\n", quoted(path)));
            }
            Some(PasswordAt::Variable(name)) => lines.push_str(&format!(
                "{login}# export {name}=… before \"lapwing run\"; with --out the password is written to a file.\n\
                 password = \"${{{name}}}\"\n"
            )),
        }
        lines
    }
}

fn log(folder: &str) -> String {
    let folder = folder.trim_end_matches('/').replace('{', "{{").replace('}', "}}");
    let path = quoted(&format!("{folder}/{{monitor}}.log"));
    format!("\n[notify.log]\ntype = \"file\"\npath = {path}\non   = [\"monitoring\", \"down\", \"up\"]\n")
}

fn heartbeat(listen: &str, down_after: Option<Duration>) -> String {
    let mut lines = format!(
        "\n[heartbeat]\nlisten     = {}\nadopt      = true\n",
        quoted(listen)
    );
    let Some(down_after) = down_after else {
        return lines;
    };
    if down_after <= PERIOD {
        let period = short(Duration::from_millis(down_after.as_millis() as u64 / 2));
        lines.push_str(&format!(
            "# The scripts' sensor sends every 30s: have yours send every {period}, or this is down between two beats.\n\
             period     = \"{period}\"\n"
        ));
    }
    lines.push_str(&format!("down_after = \"{}\"\n", short(down_after)));
    lines
}

fn heading(name: &str) -> String {
    // A name may hold anything; a comment is one line.
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    format!("# From {name}, by \"lapwing import netmonitor\".\n{HEADING}")
}

const HEADING: &str = "\
#
#   listen_address, listen_port   [heartbeat] listen
#   down_interval                 [heartbeat] down_after; where it was not given, the defaults of Lapwing hold
#   smtp_server, smtp_port        [notify.mail] server, port; TLS from the start on port 465, else STARTTLS
#   username                      [notify.mail] username, from
#   password                      [notify.mail] password, which does not stand in this file
#   alert_address                 [notify.mail] to
#   client_log_dir                [notify.log] path: one file for each sender, as before
#
# The sensors stay as they are. What is different:
# - A sender that no [[monitor]] names becomes a monitor that is called by its address, at most 1,000 of them.
# - You are told when an outage ends too, with its length; on = [\"down\"] in [notify.mail] leaves that out.
# - A message says whether the line was down or the sender restarted.
# - \"lapwing report --format classic\" prints what report.py printed, from the store and not from the logs. The old
#   logs stay where they are; nothing is read from them.
# - Anybody can forge such beats. A sensor with a key cannot be forged: see \"lapwing sensor keygen\".
";

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(text: &str) -> Imported {
        let at = PasswordAt::File("p".to_owned());
        read(text, "config.json", &at).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.at("f")))
    }

    #[test]
    fn down_intervals_are_sums_of_units() {
        for (text, expected) in [
            (r#"{"minutes": 3}"#, "3m"),
            (r#"{"minutes": 1.5, "seconds": 10}"#, "1m40s"),
            (r#"{"weeks": 1, "days": 1, "hours": 1}"#, "8d1h"),
            (
                r#"{"seconds": 60, "milliseconds": 250, "microseconds": 1}"#,
                "1m250ms1us",
            ),
            (r#"{"minutes": 10, "seconds": -60}"#, "9m"),
        ] {
            let imported = toml(&format!(r#"{{"listen_port": 1, "down_interval": {text}}}"#));
            let line = format!("\ndown_after = \"{expected}\"\n");
            assert!(imported.toml.contains(&line), "{text}: {}", imported.toml);
        }
        let short = toml(r#"{"listen_port": 1, "down_interval": {"seconds": 20}}"#).toml;
        assert!(
            short.contains("\nperiod     = \"10s\"\ndown_after = \"20s\"\n"),
            "{short}"
        );
        assert!(!toml(r#"{"listen_port": 1}"#).toml.contains("\ndown_after"));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_a_hint() {
        for (text, expected) in [
            ("{\n\"a\": 1,\n}", "f:3:1: this is not JSON: trailing comma; "),
            ("", "f:1: this is not JSON: EOF while parsing a value; "),
            ("[1]", "f:1: this is not a table of keys; "),
            ("{}", "f: listen_port is missing; for example"),
            (
                "{\n\"listen_port\": 70000}",
                "f:2: listen_port is 70000, which is not a port; ",
            ),
            ("{\"listen_port\": 0}", "f:1: listen_port is 0"),
            (
                "{\"listen_port\": 1,\n\"listen_address\": \"home.example\"}",
                "f:2: listen_address is \"home.example\", which is not an address; \"0.0.0.0\"",
            ),
            (
                "{\"listen_port\": 1, \"down_interval\": 180}",
                "f:1: down_interval is not a table of units; for example",
            ),
            (
                "{\"listen_port\": 1,\n \"down_interval\": {\n\"minuts\": 3}}",
                "f:3: down_interval has no unit \"minuts\"; did you mean \"minutes\"?",
            ),
            (
                "{\"listen_port\": 1, \"down_interval\": {\"minutes\": \"x\"}}",
                "f:1: minutes of down_interval is not a number",
            ),
            (
                "{\"listen_port\": 1, \"down_interval\": {\"minutes\": -1}}",
                "f:1: down_interval is -60 seconds in all",
            ),
            (
                "{\"listen_port\": 1, \"down_interval\": {\"days\": 1e300}}",
                "f:1: down_interval is ",
            ),
            (
                "{\"listen_port\": 1,\n\n\"password\": 1234}",
                "f:3: password is not a text; write it in quotes",
            ),
            (
                "{\"listen_port\": 1, \"alert_address\": [1]}",
                "f:1: alert_address is neither an address nor a list",
            ),
        ] {
            let wrong = match read(text, "f", &PasswordAt::Variable("P")) {
                Err(wrong) => wrong.at("f"),
                Ok(_) => panic!("{text}"),
            };
            assert!(
                wrong.starts_with(expected),
                "{text}\n found: {wrong}\nwanted: {expected}"
            );
        }
    }

    #[test]
    fn what_is_unknown_or_missing_is_told() {
        let imported =
            toml(r#"{"listen_port": 1, "smtp_servr": "x", "colour": "red", "password": "secret"}"#);
        assert_eq!(
            imported.warnings,
            [
                "the key \"smtp_servr\" is not known and is left out; did you mean \"smtp_server\"?",
                "the key \"colour\" is not known and is left out",
                "without smtp_server, username, alert_address there is no mail: nobody is told of an outage",
            ]
        );
        assert!(imported.password.is_none() && !imported.toml.contains("secret"));
    }

    #[test]
    fn no_text_of_the_original_leaves_its_place() {
        let imported = toml(
            r#"{"listen_port": 1, "listen_address": "::", "username": "a\"\n[x]", "password": "canary\n", "smtp_server":
            "${HOME}", "alert_address": "b@x, c@x", "smtp_port": "465", "client_log_dir": "/var/{x}$$/"}"#,
        );
        let text = &imported.toml;
        assert!(toml::from_str::<toml::Table>(text).is_ok(), "{text}");
        for part in [
            "listen     = \"[::]:1\"",
            "tls      = \"implicit\"",
            "server   = \"$${HOME}\"",
            "from     = \"b@x\"\nto       = [\"b@x\", \"c@x\"]",
            "path = \"/var/{{x}}$$$$/{monitor}.log\"",
            "password = { file = \"p\" }",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("canary"));
        assert_eq!(imported.password.as_deref(), Some("canary\n"));
    }
}
