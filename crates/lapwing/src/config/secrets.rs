//! Values that stand elsewhere: `${NAME}` in the environment, `{ file = "path" }` in a file. A file that others may
//! read is refused; nothing of what is read stands in any error.

use std::{
    fs::OpenOptions,
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use lapwing_core::secret::Secret;
use nix::fcntl::OFlag;

use super::{Environment, locate::reason};

/// Longest secret file, in bytes: a certificate chain fits, a mistaken path to a large file does not.
const LONGEST: u64 = 256 * 1024;

/// What is wrong with a value, and what to do.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
    /// The part of the text that is wrong.
    pub(super) part: Option<String>,
}

/// Replaces each `${NAME}` by the variable and each `$$` by a dollar; a `$` before anything else stands for itself.
/// Gives the text and the values put in.
pub(super) fn interpolate(text: &str, env: &Environment) -> Result<(String, Vec<String>), Vec<Wrong>> {
    let (mut out, mut used, mut wrong) = (String::with_capacity(text.len()), Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = after;
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = inner.find('}');
            let name = &inner[..end.unwrap_or(inner.len())];
            rest = end.map_or("", |end| &inner[end + 1..]);
            match variable(name, end.is_some(), env) {
                Ok(value) => {
                    out.push_str(value);
                    used.push(value.to_owned());
                }
                Err(error) => wrong.push(error),
            }
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    if wrong.is_empty() {
        Ok((out, used))
    } else {
        Err(wrong)
    }
}

fn variable<'e>(name: &str, closed: bool, env: &'e Environment) -> Result<&'e str, Wrong> {
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !closed || !is_name {
        let shown = if closed {
            "${…} does not hold the name of a variable"
        } else {
            "the ${ is not closed by a }"
        };
        let hint = "write ${NAME} for an environment variable, $$ for a dollar".to_owned();
        return Err(Wrong {
            message: shown.to_owned(),
            hint,
            part: Some("${".to_owned()),
        });
    }
    env.get(name).ok_or_else(|| Wrong {
        message: format!("the environment variable {name} is not set"),
        hint: format!(
            "set it (export {name}=…, or Environment= in the unit), or read a file: {{ file = \"path\" }}"
        ),
        part: Some(format!("${{{name}}}")),
    })
}

/// A secret file for a command that has no configuration: its text, or what is wrong with it.
pub fn secret_file(path: &Path, folder: &Path, env: &Environment) -> Result<Secret, String> {
    let text = read_file(&path.to_string_lossy(), folder, env);
    text.map(Secret::new).map_err(|wrong| wrong.message)
}

/// Reads a secret file without its last line end. A relative path starts at the folder of systemd credentials, where
/// such a one is there, else at `folder`.
pub(super) fn read_file(path: &str, folder: &Path, env: &Environment) -> Result<String, Wrong> {
    let wrong = |message: String, hint: String| Wrong {
        message,
        hint,
        part: None,
    };
    let credentials = env.given("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let given = credentials.as_ref().map(|folder| folder.join(path));
    let beside = folder.join(path);
    let found = given.as_ref().filter(|given| given.exists()).unwrap_or(&beside);
    let shown = found.display();
    // Without waiting: a pipe that nobody writes to must not hold us up.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(found);
    let file = file.and_then(|file| Ok((file.metadata()?, file)));
    let (meta, file) = file.map_err(|error| {
        let hint = match &given {
            Some(given) if found != given => format!("it was also looked for at {}", given.display()),
            _ => "a relative path starts at the folder of the configuration file".to_owned(),
        };
        wrong(
            format!("the secret file {shown} cannot be read: {}", reason(&error)),
            hint,
        )
    })?;
    if !meta.is_file() {
        let hint = "give the path of a file that holds nothing but the secret".to_owned();
        return Err(wrong(format!("{shown} is not a file"), hint));
    }
    // systemd gives credentials to us alone, by an access list that shows as group permissions.
    let uid = nix::unistd::geteuid().as_raw();
    let credential = credentials.is_some_and(|c| found.starts_with(c))
        && (meta.uid() == uid || meta.uid() == 0)
        && meta.mode() & 0o337 == 0;
    if meta.mode() & 0o077 != 0 && !credential {
        let message = format!(
            "the secret file {shown} can be read by others (mode {:04o})",
            meta.mode() & 0o7777
        );
        return Err(wrong(message, format!("chmod 600 {shown}")));
    }
    let mut bytes = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| {
        let hint = "a relative path starts at the folder of the configuration file".to_owned();
        wrong(
            format!("the secret file {shown} cannot be read: {}", reason(&error)),
            hint,
        )
    })?;
    if bytes.len() as u64 > LONGEST {
        let hint = "a secret file holds nothing but the secret".to_owned();
        return Err(wrong(
            format!("the secret file {shown} is larger than {} KiB", LONGEST / 1024),
            hint,
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        wrong(
            format!("the secret file {shown} is not UTF-8 text"),
            "a secret file holds text".to_owned(),
        )
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
