//! `lapwing sensor keygen`: a fresh key. Never replaces a file, never shows a key that went to one.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{
    cli::{Failure, exit},
    config, out,
};

pub(super) fn keygen(file: Option<&Path>) -> Result<u8, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(anyhow::Error::from)?;
    let key = base64url(&bytes);
    let shown = match file {
        Some(path) => {
            write(path, &key)?;
            out::complain(&format!("Wrote {}, for your eyes only.\n", path.display()));
            path.display().to_string()
        }
        None => {
            out::print(&format!("{key}\n"))?;
            "FILE".to_owned()
        }
    };
    out::complain(&what_to_do(&shown));
    Ok(exit::FINE)
}

fn what_to_do(file: &str) -> String {
    format!(
        "\
The same key goes to both machines, into a file that only the program's user can read (chmod 600).
The sensor:
  lapwing sensor --server HOST --id home --key-file {file}
The monitor, in the configuration of \"lapwing run\":
  [heartbeat]
  listen = \"0.0.0.0:7777\"
  [[monitor]]
  name   = \"home\"
  target = \"heartbeat:home\"
  key    = {{ file = \"{file}\" }}
"
    )
}

fn write(path: &Path, key: &str) -> Result<(), Failure> {
    let refused = |error: std::io::Error| {
        Failure::usage(match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!(
                    "{} is there already, and a key is never replaced: give another name",
                    path.display()
                )
            }
            _ => format!("{} cannot be written: {}", path.display(), config::reason(&error)),
        })
    };
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    let written = open
        .write_all(format!("{key}\n").as_bytes())
        .and_then(|()| open.sync_all());
    written.map_err(|error| {
        // Half a key is of no use to anybody.
        drop(fs::remove_file(path));
        refused(error)
    })
}

/// RFC 4648 section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let letters = (0..=group.len()).map(|nth| LETTERS[(bits >> (18 - 6 * nth)) as usize & 63]);
        text.extend(letters.map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
        assert_eq!(base64url(&[7; 32]).len(), 43);
    }
}
