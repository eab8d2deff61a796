//! `lapwing config`: writes a starter, checks, shows what is in effect, prints the schema. Shows no secret.

mod export;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

pub use self::export::export;
use super::{Failure, exit, progress::Progress};
use crate::config::{self, Environment};

/// The configuration that `init` writes: it works as it is, on any machine.
pub const STARTER: &str = include_str!("starter.toml");

/// Writes the starter to `path`, for its owner alone, below /etc for everybody: the service is another user than who
/// writes it. Replaces a file that is there only with `force`.
pub fn init(path: &Path, force: bool, out: &mut dyn Write) -> Result<u8, Failure> {
    let shown = path.display();
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "{shown} is a folder: give the path of a file, like {shown}/lapwing.toml"
        )));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| {
            Failure::usage(format!("the folder {} cannot be made: {error}", folder.display()))
        })?;
    }
    let mut options = OpenOptions::new();
    let mode = if path.starts_with("/etc") { 0o644 } else { 0o600 };
    options.write(true).mode(mode);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(STARTER.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{shown} is there already; --force replaces it"))
        }
        _ => Failure::usage(format!("{shown} cannot be written: {error}")),
    })?;
    let run = if path == Path::new("lapwing.toml") {
        "lapwing run".to_owned()
    } else if path == Path::new("/etc/lapwing/lapwing.toml") {
        "lapwing service install".to_owned()
    } else {
        format!("lapwing run --config {shown}")
    };
    writeln!(out, "Wrote {shown}: it works as it is. Next:\n  {run}")?;
    Ok(exit::FINE)
}

/// Reads the configuration as `run` would, and reports every error or what there is.
pub fn check(
    explicit: Option<&Path>,
    env: &Environment,
    colour: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let path = config::locate(explicit, env).map_err(|report| Failure::usage(report.render(colour)))?;
    let progress = Progress::begin();
    progress.work("reading the configuration", 0);
    let loaded = config::load(&path, env).map_err(|report| Failure::usage(report.render(colour)))?;
    drop(progress);
    let (series, notifiers) = (loaded.plan.series.len(), loaded.notifiers.len());
    writeln!(
        out,
        "{} is good: {}, {} series, {}",
        path.display(),
        count(loaded.monitor_count(), "monitor"),
        series,
        count(notifiers, "notifier")
    )?;
    if loaded.plan.series.is_empty() {
        writeln!(
            out,
            "note: there is no [[monitor]], so nothing is watched until one is added: lapwing add web https://www.example.com/"
        )?;
    }
    if notifiers == 0 {
        writeln!(
            out,
            "note: there is no [notify.NAME], so nobody is told when something is down"
        )?;
    }
    if let Some(open) = loaded.heartbeat.open {
        writeln!(
            out,
            "note: anybody who can reach the port can report in for {open}: give it a key, or from = [\"192.0.2.7\"]"
        )?;
    }
    Ok(exit::FINE)
}

/// Prints the configuration in effect, as TOML.
pub fn show(
    explicit: Option<&Path>,
    env: &Environment,
    colour: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let path = config::locate(explicit, env).map_err(|report| Failure::usage(report.render(colour)))?;
    let text = config::effective(&path, env).map_err(|report| Failure::usage(report.render(colour)))?;
    out.write_all(text.as_bytes())?;
    Ok(exit::FINE)
}

/// Prints the JSON Schema of a configuration.
pub fn schema(out: &mut dyn Write) -> Result<u8, Failure> {
    writeln!(out, "{:#}", config::schema())?;
    Ok(exit::FINE)
}

fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(work: impl FnOnce(&mut dyn Write) -> Result<u8, Failure>) -> String {
        let mut out = Vec::new();
        assert_eq!(work(&mut out).unwrap(), exit::FINE);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_starter_works_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/lapwing.toml");
        let env = Environment::of(folder.path(), [("HOME", "/nonexistent")]);
        assert!(text(|out| init(&path, false, out)).contains("lapwing run --config"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            text(|out| check(Some(&path), &env, false, out))
                .contains(" is good: 5 monitors, 5 series, 1 notifier\n")
        );
        let shown = text(|out| show(Some(&path), &env, false, out));
        assert!(shown.contains("[[monitor]]\nname = \"demo\"\n"), "{shown}");
        let again = init(&path, false, &mut Vec::new()).unwrap_err();
        assert!(again.text.contains("--force"), "{}", again.text);
        std::fs::write(&path, "x").unwrap();
        text(|out| init(&path, true, out));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STARTER);
        assert!(
            init(folder.path(), true, &mut Vec::new())
                .unwrap_err()
                .text
                .contains("is a folder")
        );
    }

    #[test]
    fn a_bad_configuration_ends_in_2() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lapwing.toml");
        std::fs::write(&path, "[[monitor]]\nname = \"a\"\n").unwrap();
        let env = Environment::of(folder.path(), [("HOME", "/nonexistent")]);
        let failure = check(None, &env, false, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.code, exit::USAGE);
        assert!(
            failure.text.contains("this monitor has no target"),
            "{}",
            failure.text
        );
        let missing = check(Some(Path::new("gone.toml")), &env, false, &mut Vec::new()).unwrap_err();
        assert!(missing.text.contains("it does not exist"), "{}", missing.text);
    }

    #[test]
    fn a_heartbeat_that_anybody_can_send_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lapwing.toml");
        let env = Environment::of(folder.path(), [("KEY", "0123456789abcdef")]);
        for (own, noted) in [
            ("", true),
            ("from = [\"192.0.2.7\"]", false),
            ("from = \"any\"", false),
            ("key = \"${KEY}\"", false),
        ] {
            let monitor = format!("[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:home\"\n{own}\n");
            std::fs::write(
                &path,
                format!("[heartbeat]\nlisten = \"127.0.0.1:7777\"\n{monitor}"),
            )
            .unwrap();
            let said = text(|out| check(Some(&path), &env, false, out));
            let note = "note: anybody who can reach the port can report in for home: give it a key, or from";
            assert_eq!(said.contains(note), noted, "{own}: {said}");
        }
    }

    #[test]
    fn the_schema_is_json() {
        let schema: serde_json::Value = serde_json::from_str(&text(schema)).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
}
