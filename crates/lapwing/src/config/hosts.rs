//! What `hosts` stands for: names, addresses, ranges, CIDR blocks and lists in files. Never more than a monitor may have.

use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

use lapwing_core::target::{Host, MAX_TARGETS, TargetError, expand_host};
use nix::fcntl::OFlag;

use super::{
    diagnostic::{At, Place, Source},
    locate::reason,
    stored::NO_FILES,
    value::Reading,
};

/// Largest list of hosts, in bytes.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;
/// Most errors told of one list.
const MOST_ERRORS: usize = 50;

/// Hosts, and the places that they come from.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: Vec<String>,
    /// From which host on an entry counts, ascending.
    entries: Vec<(usize, Place)>,
}

impl Hosts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Where the host with this number comes from.
    pub(super) fn place(&self, number: usize) -> Place {
        let after = self.entries.partition_point(|(from, _)| *from <= number);
        after
            .checked_sub(1)
            .map_or(Place::NONE, |entry| self.entries[entry].1)
    }

    /// Adds what one entry stands for.
    fn add(&mut self, entry: &str, place: Place) -> Result<(), TargetError> {
        if entry.is_empty() {
            return Err(TargetError::new("this host is empty"));
        }
        if entry.contains("://") {
            let hint = "hosts fill {host} in the target; a list of URLs is targets = [...]";
            return Err(TargetError::new(format!("\"{entry}\" is a URL, not a host")).hint(hint));
        }
        let mut found = expand_host(entry)?;
        if let Some(first) = found.first() {
            Host::parse(first)?;
        }
        if self.hosts.len() + found.len() > MAX_TARGETS {
            let message = format!("a monitor has at most {MAX_TARGETS} targets");
            return Err(TargetError::new(message).hint("split it over several monitors"));
        }
        self.entries.push((self.hosts.len(), place));
        self.hosts.append(&mut found);
        Ok(())
    }
}

/// Reads all entries; errors go into `reading`.
pub(super) fn expand(reading: &mut Reading<'_>, entries: &[At<String>]) -> Hosts {
    let mut hosts = Hosts::default();
    for entry in entries {
        let text = entry.value.trim();
        if text.starts_with('@') && reading.is_added(entry.place.file) {
            let hint =
                "write the hosts themselves, or write this monitor into a configuration file".to_owned();
            reading.error(entry.place, NO_FILES, hint);
        } else if let Some(path) = text.strip_prefix('@') {
            list(reading, &mut hosts, path.trim(), entry.place);
        } else if let Err(error) = hosts.add(text, entry.place) {
            reading.error(entry.place, error.message, error.hint);
        }
    }
    hosts
}

/// Reads a list: an entry a line, `#` begins a comment.
fn list(reading: &mut Reading<'_>, hosts: &mut Hosts, path: &str, at: Place) {
    let path = reading.folder(at.file).join(path);
    let text = match read(&path) {
        Ok(text) => text,
        Err(why) => {
            let hint = "a relative path starts at the folder of the configuration file".to_owned();
            return reading.error(
                at,
                format!("the list {} cannot be read: {why}", path.display()),
                hint,
            );
        }
    };
    let number = (reading.sources.len() + reading.lists.len()) as u32;
    let (mut offset, mut wrong, before) = (0, 0, hosts.len());
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or_default().trim();
        let start = offset + (line.len() - line.trim_start().len());
        offset += line.len();
        if entry.is_empty() {
            continue;
        }
        let place = Place::new(number, &(start..start + entry.len()));
        let added = if entry.starts_with('@') {
            Err(TargetError::new("a list does not hold another list").hint("name both in hosts"))
        } else {
            hosts.add(entry, place)
        };
        if let Err(error) = added {
            reading.error(place, error.message, error.hint);
            wrong += 1;
            if wrong == MOST_ERRORS {
                break;
            }
        }
    }
    if wrong == 0 && hosts.len() == before {
        reading.error(
            at,
            format!("the list {} is empty", path.display()),
            "write a host a line".to_owned(),
        );
    }
    reading.lists.push(Source { path, text });
}

fn read(path: &Path) -> Result<String, String> {
    // Without waiting: a pipe that nobody writes to must not hold us up.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|e| reason(&e))?;
    if !file.metadata().is_ok_and(|m| m.is_file()) {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_LIST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| reason(&e))?;
    if bytes.len() as u64 > LARGEST_LIST {
        return Err("it is larger than 64 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
