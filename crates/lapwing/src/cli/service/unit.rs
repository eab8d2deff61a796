//! The text of a systemd unit: what runs, as whom, and all that it may not do. Pure: writes and asks nothing.

use std::{fmt::Write as _, path::PathBuf};

use clap::ValueEnum;

/// What runs as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// lapwing run
    Daemon,
    /// lapwing sensor
    Sensor,
}

impl Role {
    /// Of the unit without its ending, of the folders for its data and its logs, of the user that systemd makes up.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Daemon => "lapwing",
            Self::Sensor => "lapwing-sensor",
        }
    }

    pub(super) fn unit(self) -> String {
        format!("{}.service", self.name())
    }

    pub(super) fn file(self) -> PathBuf {
        PathBuf::from(format!("/etc/systemd/system/{}", self.unit()))
    }

    /// What is typed behind `lapwing service install`.
    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Daemon => "",
            Self::Sensor => " sensor",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Daemon => "Lapwing: watches networks and services",
            Self::Sensor => "Lapwing sensor: sends heartbeats of this machine",
        }
    }
}

/// What differs between one installation and another.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) role: Role,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// None: a user that exists only while the service runs.
    pub(super) user: Option<String>,
    /// Names and files of secrets that systemd hands to the service.
    pub(super) credentials: Vec<(String, PathBuf)>,
    /// Files of `NAME=value` lines.
    pub(super) environment: Vec<PathBuf>,
}

/// The first line of each unit that is written here; by it we know our own.
pub(super) const MARK: &str = "# Written by \"lapwing service install\".";

/// What a service has no business with.
const LOCKED: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
";

impl Unit {
    /// The whole file.
    pub(super) fn render(&self) -> String {
        let (name, role) = (self.role.name(), self.role);
        let mut text = format!(
            "{MARK} Changes of your own belong into a drop-in: systemctl edit {name}
[Unit]
Description={}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={}
",
            role.description(),
            self.command_line(),
        );
        if role == Role::Daemon {
            // Not a signal: a mistake is told to whoever reloads.
            let [program, config] = [&self.command[0], &self.command[3]].map(|word| argument(word));
            text.push_str(&format!("ExecReload={program} reload --config {config}\n"));
        }
        text.push_str(
            "Restart=always\nRestartSec=10\nWatchdogSec=15\nTimeoutStartSec=5min\nTimeoutStopSec=1min\n\n",
        );
        for line in self.identity() {
            writeln!(text, "{line}").expect("a String takes everything");
        }
        text.push('\n');
        text.push_str(LOCKED);
        text.push_str(match role {
            // Pings, and a source interface that a monitor chooses.
            Role::Daemon => {
                "CapabilityBoundingSet=CAP_NET_RAW\nAmbientCapabilities=CAP_NET_RAW\nLimitNOFILE=524288\n"
            }
            Role::Sensor => "CapabilityBoundingSet=\nAmbientCapabilities=\nPrivateUsers=yes\n",
        });
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        text
    }

    /// The lines that say as whom, with which folders and secrets.
    fn identity(&self) -> Vec<String> {
        let name = self.role.name();
        let mut lines = vec![match &self.user {
            None => "DynamicUser=yes".to_owned(),
            Some(user) => format!("User={user}"),
        }];
        lines.push(format!("StateDirectory={name}\nStateDirectoryMode=0700"));
        if self.role == Role::Daemon {
            lines.push(format!("LogsDirectory={name}\nLogsDirectoryMode=0750"));
        }
        lines.push(format!("WorkingDirectory=%S/{name}"));
        lines.extend(self.settings().map(|(key, value)| format!("{key}={value}")));
        lines
    }

    /// What the service is given from outside: secrets, variables.
    fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        let credential = |(name, path): &(String, PathBuf)| {
            ("LoadCredential", quote(&format!("{name}:{}", path.display())))
        };
        let environment = |path: &PathBuf| ("EnvironmentFile", specifiers(&path.display().to_string()));
        self.credentials
            .iter()
            .map(credential)
            .chain(self.environment.iter().map(environment))
    }

    /// The settings that decide what the service can read, for a trial with `systemd-run --property`.
    pub(super) fn trial(&self) -> Vec<String> {
        let user = match &self.user {
            None => "DynamicUser=yes".to_owned(),
            Some(user) => format!("User={user}"),
        };
        let mut settings = vec![user];
        settings.extend(self.settings().map(|(key, value)| format!("{key}={value}")));
        settings.extend(LOCKED.lines().map(ToOwned::to_owned));
        settings
    }

    fn command_line(&self) -> String {
        let words: Vec<String> = self.command.iter().map(|word| argument(word)).collect();
        words.join(" ")
    }
}

/// `%` begins a specifier (systemd.unit(5)).
fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a list (systemd.syntax(7)).
fn quote(text: &str) -> String {
    let text = specifiers(text);
    let plain = |c: char| !c.is_whitespace() && !"\"'\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One word of a command line, where `$` begins a variable; ours is the folder of credentials.
fn argument(word: &str) -> String {
    if word.starts_with(CREDENTIALS) {
        return word.to_owned();
    }
    quote(&word.replace('$', "$$"))
}

/// The folder that systemd puts credentials in (systemd.exec(5)).
pub(super) const CREDENTIALS: &str = "${CREDENTIALS_DIRECTORY}";

/// The lines that one text has and the other has not: `-` for those of `old`, `+` for those of `new`.
pub(super) fn differences(old: &str, new: &str) -> String {
    let mut shown = String::new();
    let mut show = |mark: char, text: &str, other: &str| {
        for line in text.lines().filter(|line| !other.lines().any(|o| o == *line)) {
            shown.push_str(&format!("  {mark} {line}\n"));
        }
    };
    show('-', old, new);
    show('+', new, old);
    if shown.is_empty() {
        shown.push_str("  the same lines in another order\n");
    }
    shown
}

#[cfg(test)]
mod tests;
