//! `cargo xtask deb`: the Debian package, from a release build: program, systemd units, manual pages, completions for
//! shells, guides, examples.
//!
//! Never enables or starts anything on the machine that it is installed on, and never owns data or configuration.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::run::{cargo, output, run, say};

const MAINTAINER: &str = "Lapwing maintainers <maintainers@lapwing.example>";
const SCRIPTS: [(&str, &str); 3] = [
    ("postinst", include_str!("deb/postinst")),
    ("prerm", include_str!("deb/prerm")),
    ("postrm", include_str!("deb/postrm")),
];
const COPYRIGHT: &str = include_str!("deb/copyright");
const DESCRIPTION: &str = "\
uptime and network monitor in one program
 Lapwing watches networks and services. It knows when one is down, since when,
 how sure that is and why, and tells the right people once: by ICMP, TCP, UDP,
 HTTP, DNS, NTP, TLS and heartbeats; to Slack, Telegram, email, files, webhooks.
";

/// Builds the program in release, and the package into target/debian.
pub(crate) fn build(root: &Path) -> Result<()> {
    run(cargo(root).args(["build", "--release", "--workspace", "--bin", "lapwing"]))?;
    let target = target(root)?;
    package(root, &target.join("release/lapwing"), &target.join("debian")).map(|_| ())
}

/// Packs `program` into `folder`, and gives the package's path.
pub(crate) fn package(root: &Path, program: &Path, folder: &Path) -> Result<PathBuf> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let name = format!("lapwing_{}_{}", version(root)?, architecture.trim());
    let stage = folder.join("stage").join(&name);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    let date = output(
        Command::new("git")
            .current_dir(root)
            .args(["log", "-1", "--format=%ct %aD"]),
    )?;
    let (epoch, date) = date.trim().split_once(' ').context("git gives no date")?;
    fill(root, program, &stage)?;
    papers(root, &stage, date)?;
    control(root, &stage, architecture.trim())?;
    let file = folder.join(format!("{name}.deb"));
    run(Command::new("dpkg-deb")
        .env("SOURCE_DATE_EPOCH", epoch)
        .args(["--root-owner-group", "--build"])
        .args([&stage, &file]))?;
    say(format_args!("{}", file.display()));
    Ok(file)
}

fn target(root: &Path) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

fn version(root: &Path) -> Result<String> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let package = metadata
        .packages
        .iter()
        .find(|package| *package.name == "lapwing");
    Ok(package.context("there is no crate lapwing")?.version.to_string())
}

/// The program, and the units as the program itself writes them.
fn fill(root: &Path, program: &Path, stage: &Path) -> Result<()> {
    let staged = stage.join("usr/bin/lapwing");
    fs::create_dir_all(staged.parent().unwrap_or(stage))?;
    fs::copy(program, &staged).with_context(|| format!("{} is not built", program.display()))?;
    run(Command::new("strip")
        .args(["--strip-unneeded", "--remove-section=.comment"])
        .arg(&staged))?;
    mode(&staged, 0o755)?;
    // Ours alone, and empty: what stands in it belongs to the administrator.
    fs::create_dir_all(stage.join("etc/lapwing"))?;
    let sensor = [
        "sensor",
        "--config",
        "/etc/lapwing/sensor.toml",
        "--key-file",
        "/etc/lapwing/sensor.key",
    ];
    for (name, args) in [("lapwing", &[][..]), ("lapwing-sensor", &sensor)] {
        let written = output(
            Command::new(&staged)
                .args(["service", "install", "--print"])
                .args(args),
        )?;
        let at = staged.canonicalize()?.display().to_string();
        let (_, unit) = written.split_once('\n').context("the unit is empty")?;
        let unit = unit.replace(&at, "/usr/bin/lapwing");
        write(
            &stage.join(format!("usr/lib/systemd/system/{name}.service")),
            &unit,
        )?;
    }
    shell(&staged, &stage.join("usr/share"))?;
    for (from, to, ending) in [("docs/guide", "guide", "md"), ("examples", "examples", "toml")] {
        for entry in fs::read_dir(root.join(from))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == ending) {
                let name = path.file_name().unwrap_or_default();
                write(
                    &stage.join("usr/share/doc/lapwing").join(to).join(name),
                    &fs::read_to_string(&path)?,
                )?;
            }
        }
    }
    Ok(())
}

/// Manual pages and completions, as the program writes them, where the distribution's shells look.
fn shell(program: &Path, share: &Path) -> Result<()> {
    for (name, place) in [
        ("bash", "bash-completion/completions/lapwing"),
        ("zsh", "zsh/vendor-completions/_lapwing"),
        ("fish", "fish/vendor_completions.d/lapwing.fish"),
    ] {
        let script = output(Command::new(program).args(["completions", name]))?;
        write(&share.join(place), &script)?;
    }
    let pages = share.join("man/man1");
    run(Command::new(program).args(["man", "--dir"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let page = page?.path();
        mode(&page, 0o644)?;
        run(Command::new("gzip").args(["-9", "--no-name"]).arg(&page))?;
    }
    Ok(())
}

/// What Debian wants beside the program.
fn papers(root: &Path, stage: &Path, date: &str) -> Result<()> {
    let folder = stage.join("usr/share/doc/lapwing");
    let licence = fs::read_to_string(root.join("LICENSE-MIT"))?;
    let text: String = licence
        .lines()
        .map(|line| {
            if line.is_empty() {
                " .\n".to_owned()
            } else {
                format!(" {line}\n")
            }
        })
        .collect();
    write(&folder.join("copyright"), &COPYRIGHT.replace("@MIT@\n", &text))?;
    let version = version(root)?;
    let news = format!(
        "lapwing ({version}) unstable; urgency=medium\n\n  * See changelog.md beside this file.\n\n -- {MAINTAINER}  {date}\n"
    );
    write(&folder.join("changelog"), &news)?;
    run(Command::new("gzip")
        .args(["-9", "--no-name"])
        .arg(folder.join("changelog")))?;
    write(
        &folder.join("changelog.md"),
        &fs::read_to_string(root.join("CHANGELOG.md"))?,
    )
}

/// The folder DEBIAN: what the package is, what it needs, and what is run when it comes and goes.
fn control(root: &Path, stage: &Path, architecture: &str) -> Result<()> {
    let folder = stage.join("DEBIAN");
    let (version, needs, size) = (version(root)?, libraries(stage)?, size(stage)?.div_ceil(1024));
    let text = format!(
        "Package: lapwing\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\nSection: net\nPriority: optional\n\
         Depends: {needs}\nRecommends: ca-certificates, tzdata\nInstalled-Size: {size}\nDescription: {DESCRIPTION}"
    );
    write(&folder.join("control"), &text)?;
    for (name, script) in SCRIPTS {
        write(&folder.join(name), script)?;
        mode(&folder.join(name), 0o755)?;
    }
    let sums = output(
        Command::new("sh")
            .current_dir(stage)
            .args(["-euc", "find usr -type f | LC_ALL=C sort | xargs md5sum"]),
    )?;
    write(&folder.join("md5sums"), &sums)
}

/// The packages of the libraries that the program is linked with, as dpkg finds them.
fn libraries(stage: &Path) -> Result<String> {
    let folder = stage.with_extension("source");
    write(
        &folder.join("debian/control"),
        "Source: lapwing\n\nPackage: lapwing\nArchitecture: any\n",
    )?;
    let found = output(
        Command::new("dpkg-shlibdeps")
            .current_dir(&folder)
            .args(["-O", "-e"])
            .arg(stage.join("usr/bin/lapwing").canonicalize()?),
    )?;
    let line = found
        .lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="));
    match line {
        Some(needs) if !needs.is_empty() => Ok(needs.to_owned()),
        _ => bail!("dpkg-shlibdeps found no libraries: {found}"),
    }
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("{} could not be written", path.display()))?;
    mode(path, 0o644)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_the_package_touch_no_data() {
        for (name, script) in SCRIPTS {
            for line in script.lines().filter(|line| !line.trim_start().starts_with('#')) {
                for word in [
                    "chown",
                    "chmod",
                    "/var/",
                    "/etc/lapwing",
                    "systemctl enable",
                    " start ",
                ] {
                    assert!(!line.contains(word), "{name}: {line}");
                }
            }
        }
    }
}
