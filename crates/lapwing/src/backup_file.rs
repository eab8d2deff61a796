//! A backup as one file: a tar archive (POSIX.1-1988 ustar) of consistent copies of both stores, readable by any tar.
//!
//! It must never replace what it has not verified, nor leave a half-written file under the wanted name.

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use lapwing_core::time::Wall;
use lapwing_store::{DataDir, HISTORY_FILE, History, LEDGER_FILE, Ledger, Teller, added, book};

/// What an SQLite file begins with (sqlite.org/fileformat.html, section 1.3).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Copies the data folder into the new file `to`, while a daemon writes to it. Gives the size in bytes.
pub fn backup(data: &Path, to: &Path, teller: &Teller) -> anyhow::Result<u64> {
    if to.exists() {
        bail!("{} exists already: choose another name", to.display());
    }
    let stores = DataDir::read(data)?.telling(teller.clone());
    let aside = Aside::make(to)?;
    let (ledger, history) = (aside.0.join(LEDGER_FILE), aside.0.join(HISTORY_FILE));
    // The ledger first: what history knows beyond it is counted at the start, the other way round it would be lost.
    stores.ledger()?.backup(&ledger)?;
    stores.history()?.backup(&history)?;
    let part = aside.0.join("backup.tar");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let mut archive = tar::Builder::new(file);
    for (path, name) in [(&ledger, LEDGER_FILE), (&history, HISTORY_FILE)] {
        archive
            .append_path_with_name(path, name)
            .with_context(|| format!("{} cannot be written", to.display()))?;
    }
    let file = archive.into_inner()?;
    file.sync_all()?;
    fs::rename(&part, to).with_context(|| format!("{} cannot be made", to.display()))?;
    Ok(file.metadata()?.len())
}

/// Puts the backup `from` in the place of a data folder that no daemon holds: a file of [`backup`], or a copy of a
/// store, or a folder with copies. Everything is verified before the first file is replaced. Gives a sentence.
pub fn restore(from: &Path, data: &Path, now: Wall, teller: &Teller) -> anyhow::Result<String> {
    let aside = Aside::make(&data.join("restore"))?;
    let done = lapwing_store::restore(&stores_of(from, &aside)?, data, now, teller)?;
    let kept: Vec<String> = done.kept.iter().map(|p| p.display().to_string()).collect();
    let kept = if kept.is_empty() {
        String::new()
    } else {
        format!("; what was there lies in {}", kept.join(" and "))
    };
    Ok(format!(
        "{} is restored to {}{kept}",
        from.display(),
        data.display()
    ))
}

/// Reads every entry of a backup, without touching the data folder beside which it works.
pub fn verify(from: &Path, data: &Path, teller: &Teller) -> anyhow::Result<()> {
    let aside = Aside::make(&data.join("verify"))?;
    let copy = aside.0.join("copy");
    lapwing_store::restore(&stores_of(from, &aside)?, &copy, Wall(0), teller)?;
    let stores = DataDir::read(&copy)?.telling(teller.clone());
    let damaged = || format!("{} is damaged", from.display());
    if copy.join(LEDGER_FILE).exists() {
        let ledger = stores.ledger()?;
        ledger.check().with_context(damaged)?;
        book::restore(&ledger).with_context(damaged)?;
        book::all_outages(&ledger).with_context(damaged)?;
        book::all_unknown(&ledger).with_context(damaged)?;
        book::dead_letters(&ledger).with_context(damaged)?;
        added::all(&ledger).with_context(damaged)?;
    }
    if copy.join(HISTORY_FILE).exists() {
        stores.history()?.check().with_context(damaged)?;
    }
    Ok(())
}

/// Where the stores of a backup lie: of an archive, unpacked in `aside`; else the backup itself.
fn stores_of(from: &Path, aside: &Aside) -> anyhow::Result<PathBuf> {
    if !from.is_file() {
        return Ok(from.to_owned());
    }
    let mut head = Vec::new();
    let read = File::open(from).and_then(|file| file.take(SQLITE.len() as u64).read_to_end(&mut head));
    read.with_context(|| format!("{} cannot be read", from.display()))?;
    if head == SQLITE {
        return Ok(from.to_owned());
    }
    let unpacked = aside.0.join("unpacked");
    fs::create_dir(&unpacked)?;
    unpack(from, &unpacked)?;
    Ok(unpacked)
}

/// Takes both stores out of the archive, and nothing else: a name in it is never a path of ours.
fn unpack(from: &Path, to: &Path) -> anyhow::Result<()> {
    // What the archive's reader says may quote the file, which need not be ours to show.
    let broken = |_| anyhow!("{} is not a backup of Lapwing, or is damaged", from.display());
    let mut archive = tar::Archive::new(File::open(from)?);
    let mut found = Vec::new();
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let Some(name) = [LEDGER_FILE, HISTORY_FILE]
            .into_iter()
            .find(|n| name == Path::new(n))
        else {
            continue;
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to.join(name))?;
        std::io::copy(&mut entry, &mut file).map_err(broken)?;
        found.push(name);
    }
    if found.is_empty() {
        bail!(
            "{} is not a backup of Lapwing: it holds no database",
            from.display()
        );
    }
    // One that was cut between the two reads well to its end.
    if let Some(missing) = [LEDGER_FILE, HISTORY_FILE].iter().find(|n| !found.contains(n)) {
        bail!("{} is not a whole backup: {missing} is missing", from.display());
    }
    Ok(())
}

/// A folder beside a file, for what is not ready yet; it goes when it is dropped.
struct Aside(PathBuf);

impl Aside {
    fn make(beside: &Path) -> anyhow::Result<Self> {
        let name = beside.file_name().unwrap_or_default().to_string_lossy();
        // Several may be at it at once, and one that was killed may have left its own.
        let mut own = [0; 8];
        getrandom::fill(&mut own).context("the system gives no randomness")?;
        let path = beside.with_file_name(format!(".{name}.{:016x}", u64::from_le_bytes(own)));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("the folder {} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What cannot be removed is a hidden folder with our name; nothing depends on it.
        drop(fs::remove_dir_all(&self.0));
    }
}
