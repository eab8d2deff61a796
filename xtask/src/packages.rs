//! The programs that the tests need from the system, and how they come onto a Debian machine.
//!
//! Never starts, stops or restarts a service, now or at the next boot, and installs nothing that is already there.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::run::{output, run, say};

/// A program that tests call, the Debian package that holds it, and what the tests use it for.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    /// What the package would start at the next boot, and the tests do not need.
    service: Option<&'static str>,
    why: &'static str,
}

/// All of them. A test that calls one carries it in its name: `needs_nginx_…`.
pub(crate) const NEEDS: &[Need] = &[
    need(
        "nginx",
        "nginx-light",
        Some("nginx"),
        "a real web server to check, with TLS",
    ),
    need(
        "unbound",
        "unbound",
        Some("unbound"),
        "a real DNS server to ask and to break",
    ),
    need("chronyd", "chrony", Some("chrony"), "a real NTP server to ask"),
    need(
        "sshd",
        "openssh-server",
        Some("ssh"),
        "a real banner on a TCP port",
    ),
    need(
        "nft",
        "nftables",
        None,
        "drops and rejects packets inside network namespaces",
    ),
    need("ip", "iproute2", None, "network namespaces, links, addresses"),
    need("nc", "netcat-openbsd", None, "a plain TCP and UDP peer"),
    need("tmux", "tmux", None, "a terminal to type into and to read"),
    need(
        "curl",
        "curl",
        None,
        "asks the API and the page as a stranger would",
    ),
    need(
        "unshare",
        "util-linux",
        None,
        "a machine that has just booted: a clock of its own",
    ),
    need("ps", "procps", None, "looks at the running program from outside"),
    need("dig", "bind9-dnsutils", None, "a second opinion on DNS answers"),
    need("openssl", "openssl", None, "a second opinion on certificates"),
    need(
        "ping",
        "iputils-ping",
        None,
        "a second opinion on round trips and losses",
    ),
    need(
        "systemd-analyze",
        "systemd",
        None,
        "systemd's own judgement of our units",
    ),
    need(
        "systemd-nspawn",
        "systemd-container",
        None,
        "boots a real systemd in a container, for the service and the package",
    ),
    need(
        "faketime",
        "faketime",
        None,
        "a clock that runs faster, or stands just before the full hour",
    ),
    need("jq", "jq", None, "reads our JSON as the guides do"),
    need(
        "setcap",
        "libcap2-bin",
        None,
        "gives a program a right, as the guides do",
    ),
    need("setpriv", "util-linux", None, "a user without any privilege"),
    need("fsfreeze", "util-linux", None, "a disk that hangs"),
    need("mkfs.ext4", "e2fsprogs", None, "a file system of a test's own"),
    need("dpkg-shlibdeps", "dpkg-dev", None, "builds the Debian package"),
    need("strip", "binutils", None, "builds the Debian package"),
    need("bash", "bash", None, "completes what is typed, with our script"),
    need("zsh", "zsh", None, "completes what is typed, with our script"),
    need("fish", "fish", None, "completes what is typed, with our script"),
    need("mandoc", "mandoc", None, "a second opinion on our manual pages"),
    need(
        "lintian",
        "lintian",
        None,
        "Debian's own judgement of our package",
    ),
];

const fn need(
    program: &'static str,
    package: &'static str,
    service: Option<&'static str>,
    why: &'static str,
) -> Need {
    Need {
        program,
        package,
        service,
        why,
    }
}

/// Makes every program available, or says which packages to install.
pub(crate) fn provide() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        say(format_args!("packages: all {} programs are present", NEEDS.len()));
        return Ok(());
    }
    if !is_root()? || find("apt-get", &search_path()).is_none() {
        bail!("{}", advice(&missing));
    }
    install(&missing)?;
    let still = self::missing();
    if still.is_empty() {
        return Ok(());
    }
    bail!(
        "installed, and still not found: {}",
        names(&still, |need| need.program)
    )
}

/// The needs whose program is not on this machine.
pub(crate) fn missing() -> Vec<&'static Need> {
    let path = search_path();
    NEEDS
        .iter()
        .filter(|need| find(need.program, &path).is_none())
        .collect()
}

/// Whether we are root: only root may install packages and make network namespaces.
pub(crate) fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// What is missing, what for, and the line that installs it.
pub(crate) fn advice(missing: &[&Need]) -> String {
    let lines: Vec<_> = missing
        .iter()
        .map(|need| format!("  {:<8} from {:<15} {}", need.program, need.package, need.why))
        .collect();
    format!(
        "the tests need programs that are not installed here:\n{}\n\
         install them:  sudo apt-get update && sudo apt-get install --no-install-recommends {}\n\
         or run what is possible without them:  cargo xtask test --partial",
        lines.join("\n"),
        names(missing, |need| need.package)
    )
}

fn install(missing: &[&Need]) -> Result<()> {
    say(format_args!(
        "packages: installing {}",
        names(missing, |need| need.package)
    ));
    let _no_start = NoStart::set(Path::new("/usr/sbin/policy-rc.d"))?;
    run(apt().args(["-qq", "update"]))?;
    let packages = missing.iter().map(|need| need.package);
    run(apt()
        .args(["-qq", "-y", "--no-install-recommends", "install"])
        .args(packages))?;
    stay_off(missing)
}

/// What we have just installed does not start at the next boot either.
fn stay_off(installed: &[&Need]) -> Result<()> {
    let services: Vec<_> = installed.iter().filter_map(|need| need.service).collect();
    if services.is_empty() || find("systemctl", &search_path()).is_none() {
        return Ok(());
    }
    run(Command::new("systemctl")
        .args(["--quiet", "disable"])
        .args(services))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args([
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    command
}

/// Debian's word to package scripts that no service may be started now; taken back when this goes.
/// A word that already stands there is the machine's own and stays.
struct NoStart(Option<PathBuf>);

impl NoStart {
    fn set(policy: &Path) -> Result<Self> {
        let new = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(policy);
        match new {
            Ok(mut file) => {
                let guard = Self(Some(policy.to_path_buf()));
                std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")
                    .with_context(|| format!("{} could not be written", policy.display()))?;
                Ok(guard)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(error) => Err(error).with_context(|| format!("{} could not be created", policy.display())),
        }
    }
}

impl Drop for NoStart {
    fn drop(&mut self) {
        if let Some(policy) = &self.0
            && let Err(error) = fs::remove_file(policy)
        {
            say(format_args!(
                "packages: remove {} by hand: {error}",
                policy.display()
            ));
        }
    }
}

/// `PATH`, and the folders of system programs that an ordinary user's `PATH` often lacks.
fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).collect()
}

fn find(program: &str, path: &[PathBuf]) -> Option<PathBuf> {
    path.iter().map(|folder| folder.join(program)).find(|file| {
        fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn names(needs: &[&Need], name: fn(&Need) -> &'static str) -> String {
    needs.iter().map(|need| name(need)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_only_when_it_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = [PathBuf::from("/does/not/exist"), folder.path().to_path_buf()];
        let file = folder.path().join("nginx");
        assert_eq!(find("nginx", &path), None);
        fs::write(&file, "").unwrap();
        assert_eq!(find("nginx", &path), None, "not executable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("nginx", &path), Some(file));
    }

    #[test]
    fn the_advice_names_each_package_and_the_line_to_type() {
        let text = advice(&[&NEEDS[0], &NEEDS[2]]);
        assert!(
            text.contains("apt-get install --no-install-recommends nginx-light chrony\n"),
            "{text}"
        );
        assert!(text.contains("chronyd") && text.contains("NTP"), "{text}");
        assert!(!text.contains("unbound"), "{text}");
    }

    #[test]
    fn services_stay_off_while_we_install_and_the_word_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        {
            let _guard = NoStart::set(&policy).unwrap();
            let status = Command::new(&policy).status().unwrap();
            assert_eq!(status.code(), Some(101));
        }
        assert!(!policy.exists());
    }

    #[test]
    fn a_policy_of_the_machine_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy-rc.d");
        fs::write(&policy, "mine").unwrap();
        drop(NoStart::set(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "mine");
    }

    #[test]
    fn every_need_has_a_package_and_a_reason_and_stands_once() {
        for (place, need) in NEEDS.iter().enumerate() {
            assert!(!need.package.is_empty() && !need.why.is_empty(), "{need:?}");
            assert!(
                NEEDS[..place].iter().all(|other| other.program != need.program),
                "{need:?} twice"
            );
        }
    }
}
