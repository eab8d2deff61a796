//! Appends to a file, one line a message. A value from elsewhere can never choose the folder.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lapwing_core::{
    kind::{OptionError, OptionInfo, OptionReader, OptionType},
    observation::clean,
};
use lapwing_net::Net;

use crate::{
    BoxFuture, DeliveryError, Dial, Message, Notifier, NotifierInfo, NotifierKind, Receipt, Template,
    delivery::{Handed, within},
    message::TEXT_MAX,
    options,
};

pub(super) const KIND: NotifierKind = NotifierKind { info: &INFO, build };

/// Fields that a path may hold: what does not change from one try to the next.
const FIELDS: &[&str] = &["date", "host", "KIND", "kind", "monitor", "series", "event"];
/// How far back a resent line is looked for.
const TAIL: u64 = 64 * 1024;
/// Longest value within a file name, in bytes; the systems' limit for the whole name is 255.
const VALUE_MAX: usize = 100;

static INFO: NotifierInfo = NotifierInfo {
    name: "file",
    summary: "a file, one line a message",
    about: "Appends a line like `2026-11-20 14:51:19 DOWN web …`, synced to the disk before it counts as delivered. The \
            time is when it happened. A message that is sent again, because Lapwing stopped before it could note the \
            delivery, is written only when its line is not among the last 64 KiB of the file. Works without a network.",
    options: &[OptionInfo {
        name: "path",
        ty: OptionType::Output,
        default: "",
        doc: "The file. May hold {date}, {host}, {KIND}, {kind}, {monitor}, {series} and {event}; folders are made. A relative path starts at $LOGS_DIRECTORY (systemd), else at the configuration file.",
        example: "\"alerts/{date}_{host}_{KIND}.txt\"",
    }],
    shared: options::LOCAL,
    required: &["path"],
    example: "[notify.log]\ntype = \"file\"\npath = \"alerts/{date}_{host}_{KIND}.txt\"\n",
};

struct Log {
    path: Template,
    deadline: Duration,
}

fn build(reader: &mut OptionReader<'_>, dial: &Dial) -> Option<Box<dyn Notifier>> {
    let text = reader.text("path").filter(|p| !p.trim().is_empty())?;
    if text.ends_with('/') || text.contains('\0') {
        let error = OptionError::new(
            "path",
            format!("\"{}\" does not name a file", text.escape_debug()),
        );
        reader.error(error.hint("for example: path = \"alerts/{date}.txt\""));
        return None;
    }
    match Template::parse(&text, FIELDS) {
        Ok(path) => Some(Box::new(Log {
            path,
            deadline: dial.deadline,
        })),
        Err(error) => {
            let hint = format!("the fields of a path are: {}", FIELDS.join(", "));
            reader.error(OptionError::new("path", format!("path: {error}")).hint(hint));
            None
        }
    }
}

impl Log {
    /// Runs `work` where it may block.
    async fn blocking(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<Receipt, DeliveryError> {
        let shown = path.display().to_string();
        let handed = Handed::default();
        handed.set();
        within(self.deadline, &shown, &handed, async {
            let done = tokio::task::spawn_blocking(move || work(&path)).await;
            let done = done.unwrap_or_else(|_| Err(io::Error::other("the writer failed by a defect")));
            // Written but not synced is possible; the line is looked for at the next try.
            let failed = |error| DeliveryError::backoff("notify.file", format!("{shown}: {error}"));
            done.map_err(|error| failed(error).maybe_arrived(true))
        })
        .await?;
        Ok(Receipt::default())
    }
}

impl Notifier for Log {
    fn deliver<'a>(
        &'a self,
        message: &'a Message,
        _: &'a Net,
    ) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        let path = PathBuf::from(self.path.render(|name| message.field(name), file_name));
        // Neither "late" nor "resent" is in the line: it is the same at every try, so that it can be found again.
        let text = clean(&message.text, TEXT_MAX);
        let line = format!("{} {} {text}\n", message.date(), message.time());
        let resent = message.resent;
        Box::pin(self.blocking(path, move |path| append(path, &line, resent)))
    }

    /// Opens the file for writing; where its name depends on the message, tries the folder instead.
    fn verify<'a>(&'a self, _: &'a Net) -> BoxFuture<'a, Result<Receipt, DeliveryError>> {
        let path = if self.path.fields().is_empty() {
            PathBuf::from(self.path.render(|_| String::new(), file_name))
        } else {
            let prefix = self.path.prefix();
            let folder = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
            PathBuf::from(format!("{folder}.lapwing-{}", std::process::id()))
        };
        Box::pin(self.blocking(path, |path| {
            let (_, created) = open(path)?;
            if created { fs::remove_file(path) } else { Ok(()) }
        }))
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// `value` as one harmless part of a file name: no separators, no leading dot, bounded.
fn file_name(value: &str) -> String {
    let bare = value.trim_start_matches('[').trim_end_matches(']');
    let mut name = String::new();
    for c in bare.chars() {
        if name.len() + c.len_utf8() > VALUE_MAX {
            break;
        }
        name.push(match c {
            ':' => '-',
            c if c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+' | ',' | '=') => c,
            _ => '_',
        });
    }
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "_".to_owned(),
        None => name,
    }
}

/// Opens for appending, makes folders and file as needed; true when the file is new.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o640);
    let (file, created) = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (options.create(true).open(path)?, true),
        opened => (opened?, false),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is not a regular file"));
    }
    Ok((file, created))
}

/// Appends `line` by one write and syncs it. When it was `resent` and stands there already, only syncs.
fn append(path: &Path, line: &str, resent: bool) -> io::Result<()> {
    let (mut file, created) = open(path)?;
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    if length > 0 {
        let back = if resent { TAIL.min(length) } else { 1 };
        file.seek(SeekFrom::Start(length - back))?;
        Read::by_ref(&mut file).take(back).read_to_end(&mut tail)?;
    }
    let written = resent
        && tail
            .split_inclusive(|b| *b == b'\n')
            .any(|l| l == line.as_bytes());
    if !written {
        // A line torn by a power cut ends here, so that ours stands alone.
        let torn = tail.last().is_some_and(|b| *b != b'\n');
        let whole = format!("{}{line}", if torn { "\n" } else { "" });
        file.write_all(whole.as_bytes())?;
    }
    file.sync_all()?;
    if created {
        let folder = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{self, HOSTILE};

    fn log(path: &Path) -> crate::Built {
        testkit::built("file", &[("path", path.to_str().unwrap())])
    }

    #[tokio::test]
    async fn one_line_a_message_in_a_dated_file() {
        let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
        let built = log(&dir.path().join("a/b/{date}_{host}_{KIND}.txt"));
        let mut message = testkit::message();
        built.notifier.deliver(&message, &net).await.unwrap();
        message.text = "UP web\nagain".to_owned();
        message.late = Some(Duration::from_secs(5));
        built.notifier.deliver(&message, &net).await.unwrap();
        let text = fs::read_to_string(dir.path().join("a/b/2026-11-20_www.example.com_HTTPS.txt")).unwrap();
        let first = testkit::message().text;
        assert_eq!(
            text,
            format!("2026-11-20 14:51:19 {first}\n2026-11-20 14:51:19 UP web again\n")
        );
        assert!(built.notifier.is_local());
    }

    #[tokio::test]
    async fn a_resent_line_is_written_once() {
        let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
        let path = dir.path().join("log");
        let built = log(&path);
        let mut message = testkit::message();
        built.notifier.deliver(&message, &net).await.unwrap();
        message.resent = true;
        built.notifier.deliver(&message, &net).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        message.text = "UP web".to_owned();
        built.notifier.deliver(&message, &net).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        // Beyond the tail it is written again: better twice than never.
        let filler = "x".repeat(TAIL as usize);
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(filler.as_bytes())
            .unwrap();
        built.notifier.deliver(&message, &net).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.ends_with("xxx\n2026-11-20 14:51:19 UP web\n"),
            "a torn line ends before ours begins"
        );
    }

    #[tokio::test]
    async fn values_cannot_leave_the_folder_nor_the_line() {
        let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
        let built = log(&dir.path().join("{host}/{monitor}.txt"));
        let mut message = testkit::message();
        message.host = "..".to_owned();
        message.monitor = "../../etc/passwd\0".to_owned();
        message.text = HOSTILE.to_owned();
        built.notifier.deliver(&message, &net).await.unwrap();
        let text = fs::read_to_string(dir.path().join("_./_._.._etc_passwd_.txt")).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(['\0', '\r', '\u{1b}', '\u{202e}']), "{text}");
        assert_eq!(file_name("[2001:db8::1]"), "2001-db8--1");
        assert_eq!(file_name(""), "_");
        assert!(file_name(&"ä".repeat(300)).len() <= VALUE_MAX);
    }

    #[tokio::test]
    async fn verify_leaves_nothing_behind() {
        let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
        for name in ["plain.txt", "{date}.txt", "{date}"] {
            log(&dir.path().join(name)).notifier.verify(&net).await.unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("plain.txt"), "kept\n").unwrap();
        log(&dir.path().join("plain.txt"))
            .notifier
            .verify(&net)
            .await
            .unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("plain.txt")).unwrap(),
            "kept\n"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again() {
        let (net, dir) = (testkit::net(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("file"), "").unwrap();
        for path in [dir.path().to_path_buf(), dir.path().join("file/x.txt")] {
            for error in [
                log(&path)
                    .notifier
                    .deliver(&testkit::message(), &net)
                    .await
                    .unwrap_err(),
                log(&path).notifier.verify(&net).await.unwrap_err(),
            ] {
                assert_eq!(
                    (error.code, error.retry),
                    ("notify.file", crate::Retry::Backoff),
                    "{error}"
                );
            }
        }
        for bad in ["x/{time}", "x/", "{date"] {
            assert!(
                crate::parse("file", &testkit::options(&[("path", bad)])).is_err(),
                "{bad}"
            );
        }
        let errors = crate::parse(
            "file",
            &testkit::options(&[("path", "x"), ("proxy", "http://p:1")]),
        )
        .unwrap_err();
        assert!(errors[0].message.contains("no option"), "{errors:?}");
    }
}
