//! `lapwing service status`: what systemd knows of the service, and whether it answers.

use std::{collections::HashMap, path::PathBuf};

use clap::Args;
use lapwing_core::time::Wall;
use serde_json::json;

use super::{
    super::{Failure, exit, local, report::zone},
    RoleArg, STATE, data, systemd,
    unit::Role,
};
use crate::{config::Environment, listeners::SOCKET, out};

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    role: RoleArg,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is known of a service.
struct Known {
    role: Role,
    properties: HashMap<String, String>,
    /// What the daemon's socket says: it answers, or why not. None where there is nobody to ask.
    answer: Option<Result<(), String>>,
}

pub(super) fn status(args: &StatusArgs, environment: &Environment) -> Result<u8, Failure> {
    let role = args.role.role;
    if !systemd::is_running() {
        return Err(Failure::usage(
            "systemd does not run this machine, so there are no services; \"lapwing status\" asks a daemon that was started by hand",
        ));
    }
    let properties = systemd::properties(&role.unit())?;
    let mut known = Known {
        role,
        properties,
        answer: None,
    };
    if !known.is_installed() {
        return Err(Failure::usage(format!(
            "there is no {}: \"sudo lapwing service install{}\" makes it",
            role.unit(),
            role.argument()
        )));
    }
    if role == Role::Daemon && known.runs() {
        known.answer = Some(ask(&known, environment));
    }
    if args.json {
        out::print(&format!("{:#}\n", known.json()))?;
    } else {
        out::print(&known.text())?;
    }
    let fine = known.runs() && !matches!(known.answer, Some(Err(_)));
    Ok(if fine { exit::FINE } else { exit::DOWN })
}

/// Whether the daemon answers on its socket.
fn ask(known: &Known, environment: &Environment) -> Result<(), String> {
    let data = match known.configuration() {
        Some(path) => data(&path, environment)?,
        None => PathBuf::from(STATE),
    };
    match local::ask_if_any(&data, async |daemon| daemon.alive().await) {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err("its engine does not answer".to_owned()),
        Ok(None) => Err(format!("nobody listens on {}", data.join(SOCKET).display())),
        Err(failure) => Err(failure.text),
    }
}

impl Known {
    fn get(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }

    fn is_installed(&self) -> bool {
        self.get("LoadState") != "not-found"
    }

    fn runs(&self) -> bool {
        ["active", "reloading"].contains(&self.get("ActiveState"))
    }

    fn pid(&self) -> Option<u32> {
        self.get("MainPID").parse().ok().filter(|pid| *pid > 0)
    }

    /// systemd writes `@` and seconds.
    fn since(&self) -> Option<Wall> {
        let seconds: i64 = self.get("ActiveEnterTimestamp").strip_prefix('@')?.parse().ok()?;
        (seconds > 0).then_some(Wall(seconds * 1_000_000))
    }

    /// The configuration in `argv[]=lapwing run --config PATH ;` of systemd's account.
    fn configuration(&self) -> Option<PathBuf> {
        let (_, rest) = self.get("ExecStart").split_once(" --config ")?;
        Some(PathBuf::from(rest.split(" ;").next().unwrap_or(rest)))
    }

    fn json(&self) -> serde_json::Value {
        let answer = |answer: &Result<(), String>| match answer {
            Ok(()) => (true, None),
            Err(why) => (false, Some(why.clone())),
        };
        let (answers, why) = self.answer.as_ref().map(answer).unzip();
        json!({
            "v": 1,
            "unit": self.role.unit(),
            "file": self.get("FragmentPath"),
            "enabled": self.get("UnitFileState") == "enabled",
            "active": self.get("ActiveState"),
            "state": self.get("SubState"),
            "pid": self.pid(),
            "since": self.since().filter(|_| self.runs()).map(Wall::rfc3339),
            "restarts": self.get("NRestarts").parse::<u64>().ok(),
            "status": Some(self.get("StatusText")).filter(|text| !text.is_empty()),
            "answers": answers,
            "why_not": why.flatten(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{} ({})\n", self.role.unit(), self.get("FragmentPath"));
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<9}{value}\n"));
        let state = format!("{} ({})", self.get("ActiveState"), self.get("SubState"));
        let since = self.since().filter(|_| self.runs()).map(|since| {
            let local = since.timestamp().to_zoned(zone());
            local.strftime(" since %Y-%m-%d %H:%M:%S").to_string()
        });
        line("state", &(state + &since.unwrap_or_default()));
        line(
            "at boot",
            match self.get("UnitFileState") {
                "enabled" => "starts",
                _ => "does not start",
            },
        );
        if let Some(pid) = self.pid() {
            line("process", &pid.to_string());
        }
        match self.get("NRestarts") {
            "" | "0" => {}
            restarts => line(
                "restarts",
                &format!("{restarts} since it was started by hand or at boot"),
            ),
        }
        match self.get("StatusText") {
            "" => {}
            status => line("says", status),
        }
        match &self.answer {
            None => {}
            Some(Ok(())) => line("answers", "yes"),
            Some(Err(why)) => line("answers", &format!("no: {why}")),
        }
        line("log", &format!("journalctl --unit {}", self.role.name()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pairs: &[(&str, &str)]) -> Known {
        Known {
            role: Role::Daemon,
            properties: pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            answer: None,
        }
    }

    #[test]
    fn what_systemd_says_is_understood() {
        let known = known(&[
            ("LoadState", "loaded"),
            ("ActiveState", "active"),
            ("SubState", "running"),
            ("MainPID", "42"),
            ("ActiveEnterTimestamp", "@1700000000"),
            ("StatusText", "watching 2 series: 2 up"),
            (
                "ExecStart",
                "{ path=/usr/bin/lapwing ; argv[]=/usr/bin/lapwing run --config /etc/my lapwing ; ignore_errors=no ; }",
            ),
        ]);
        assert!(known.is_installed() && known.runs());
        assert_eq!(known.configuration(), Some(PathBuf::from("/etc/my lapwing")));
        let json = known.json();
        assert_eq!(json["pid"], 42);
        assert_eq!(json["since"], "2023-11-14T22:13:20.000000Z");
        assert_eq!(json["enabled"], false);
        assert!(json["answers"].is_null());
        assert!(known.text().contains("  process  42\n"), "{}", known.text());
    }

    #[test]
    fn what_does_not_run_has_no_process_and_no_since() {
        let known = known(&[
            ("LoadState", "loaded"),
            ("ActiveState", "activating"),
            ("SubState", "auto-restart"),
            ("MainPID", "0"),
            ("ActiveEnterTimestamp", "@1700000000"),
            ("NRestarts", "3"),
        ]);
        assert!(!known.runs());
        let text = known.text();
        assert!(
            text.contains("activating (auto-restart)\n") && text.contains("restarts 3 since"),
            "{text}"
        );
        assert!(!text.contains("process") && known.json()["since"].is_null());
    }
}
