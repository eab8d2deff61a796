//! `lapwing config export`: the monitors that were added, as a configuration. Reads the data folder, with a daemon on it
//! or without one.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use lapwing_core::observation::clean;
use lapwing_store::{
    DataDir,
    added::{self, Added},
};

use super::super::{Failure, exit};

/// Most names in the command that is proposed.
const MOST_NAMED: usize = 20;

/// Writes them to the new file `to`, or to `out`.
pub fn export(folder: &Path, to: Option<&Path>, out: &mut dyn Write) -> Result<u8, Failure> {
    let ledger = DataDir::read(folder).and_then(|dir| dir.ledger());
    let ledger = ledger.map_err(|error| Failure::stored(&error))?;
    let all = added::all(&ledger).map_err(|error| Failure::stored(&error))?;
    let Some(path) = to else {
        out.write_all(text(&all).as_bytes())?;
        return Ok(exit::FINE);
    };
    let shown = path.display();
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(text(&all).as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{shown} is there already: choose another name"))
        }
        _ => Failure::usage(format!("{shown} cannot be written: {error}")),
    })?;
    let what = if all.len() == 1 { "monitor" } else { "monitors" };
    writeln!(out, "Wrote {} {what} to {shown}", all.len())?;
    Ok(exit::FINE)
}

fn text(all: &[Added]) -> String {
    if all.is_empty() {
        return "# No monitor was added: all that is watched stands in the configuration.\n".to_owned();
    }
    let named: Vec<_> = all.iter().map(|one| word(&one.name)).collect();
    let names = if named.len() > MOST_NAMED {
        "NAME…".to_owned()
    } else {
        named.join(" ")
    };
    let mut text = format!(
        "# Monitors that were added while the daemon ran: {}.\n\
         # To take them over, put this text into a configuration file, and run\n\
         #   lapwing reload\n\
         #   lapwing remove {names}\n\
         # What stands in a file counts, so nothing is watched twice or not at all in between.\n",
        all.len()
    );
    for one in all {
        let by = if one.by.is_empty() {
            String::new()
        } else {
            format!(" by {}", clean(&one.by, 64))
        };
        text.push_str(&format!("\n# added{by} at {}\n{}", one.at.rfc3339(), one.text));
    }
    text
}

/// A name as a shell reads it.
fn word(name: &str) -> String {
    if name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    }
}
