//! Where the configuration is, and which files it is made of. Reads folders, never the files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Environment, Report};

/// The file's name where nobody gives one.
const FILE: &str = "lapwing.toml";

/// Finds the configuration, a file or a folder: `explicit` (`--config`), `$LAPWING_CONFIG`, `./lapwing.toml`,
/// `~/.config/lapwing/`, `/etc/lapwing/`. The error says where it looked.
pub fn locate(explicit: Option<&Path>, env: &Environment) -> Result<PathBuf, Report> {
    if let Some(path) = explicit {
        return named(path, "--config", env);
    }
    if let Some(path) = env.given("LAPWING_CONFIG") {
        return named(Path::new(path), "$LAPWING_CONFIG", env);
    }
    let file = env.at(Path::new(FILE));
    if file.is_file() {
        return Ok(file);
    }
    let mut looked = vec![format!("./{FILE}")];
    for folder in folders(env) {
        if is_configuration(&folder) {
            return Ok(folder);
        }
        looked.push(format!("{}/", folder.display()));
    }
    let message = format!("there is no configuration: looked for {}", looked.join(", "));
    Err(Report::one(
        message,
        Some("\"lapwing config init\" writes one to start from".to_owned()),
    ))
}

/// The path that `config init` writes to where nobody gives one.
pub fn default_path(env: &Environment) -> PathBuf {
    env.at(Path::new(FILE))
}

fn named(path: &Path, by: &str, env: &Environment) -> Result<PathBuf, Report> {
    let path = env.at(path);
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(error) => {
            let message = format!(
                "{}, given by {by}, cannot be read: {}",
                path.display(),
                reason(&error)
            );
            let hint = format!(
                "\"lapwing config init {}\" writes one to start from",
                path.display()
            );
            Err(Report::one(
                message,
                (error.kind() == io::ErrorKind::NotFound).then_some(hint),
            ))
        }
    }
}

fn folders(env: &Environment) -> Vec<PathBuf> {
    let own = env
        .given("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let own = own.or_else(|| Some(Path::new(env.given("HOME")?).join(".config")));
    own.map(|own| own.join("lapwing"))
        .into_iter()
        .chain([PathBuf::from("/etc/lapwing")])
        .collect()
}

/// Whether a folder holds a configuration.
pub fn is_configuration(folder: &Path) -> bool {
    folder.is_dir() && files(folder).is_ok_and(|files| !files.is_empty())
}

/// The files of a configuration: the file itself, or all `*.toml` of a folder in name order.
pub(super) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // Hidden files are what editors leave behind.
        let wanted = !name.starts_with('.') && path.extension().is_some_and(|e| e == "toml");
        if wanted && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The system's words without its number.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
