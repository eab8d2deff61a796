//! The Debian package, as `cargo xtask deb` packs it: judged by lintian, put on a real systemd, renewed, taken away.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::machine::Machine;

/// The package with the program under test in it.
fn pack(folder: &Path) -> PathBuf {
    let packed = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["xtask", "deb", env!("CARGO_BIN_EXE_lapwing")])
        .arg(folder)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    let said = String::from_utf8_lossy(&packed.stdout).into_owned();
    PathBuf::from(said.lines().last().unwrap())
}

fn please_lintian(package: &Path) {
    let said = Command::new("lintian").arg(package).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let faults: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("E:") || line.starts_with("W:"))
        .collect();
    assert_eq!(faults, [""; 0]);
}

#[test]
fn needs_root_needs_systemd_nspawn_needs_dpkg_shlibdeps_needs_strip_needs_lintian_the_package_comes_and_goes()
{
    let folder = tempfile::tempdir().unwrap();
    let package = pack(folder.path());
    please_lintian(&package);
    let machine = Machine::boot(&package, "/srv/lapwing.deb");
    machine.does("dpkg -i /srv/lapwing.deb");
    let version = concat!("lapwing ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(machine.does("lapwing --version"), version);
    for file in [
        "man/man1/lapwing-run.1.gz",
        "bash-completion/completions/lapwing",
        "zsh/vendor-completions/_lapwing",
        "fish/vendor_completions.d/lapwing.fish",
    ] {
        machine.does(&format!("test -s /usr/share/{file}"));
    }
    for unit in ["lapwing", "lapwing-sensor"] {
        assert_eq!(machine.property(unit, "UnitFileState"), "disabled");
        assert_eq!(machine.property(unit, "ActiveState"), "inactive");
    }

    machine.does("lapwing config init /etc/lapwing/lapwing.toml && systemctl enable --now lapwing");
    let status = machine.does("lapwing service status");
    assert!(
        status.contains("/lib/systemd/system/lapwing.service") && status.contains("answers  yes"),
        "{status}"
    );
    machine.does(
        "lapwing sensor keygen --out /etc/lapwing/sensor.key && \
         printf 'server = \"127.0.0.1\"\\nid = \"home\"\\n' > /etc/lapwing/sensor.toml && systemctl start lapwing-sensor",
    );
    let status = machine.does("lapwing service status sensor");
    assert!(status.contains("not heard yet"), "{status}");

    let pid = machine.property("lapwing", "MainPID");
    machine.does("dpkg -i /srv/lapwing.deb && systemctl is-active lapwing lapwing-sensor");
    assert_ne!(
        machine.property("lapwing", "MainPID"),
        pid,
        "the new program runs"
    );

    machine.does("dpkg --remove lapwing && ! pgrep -x lapwing");
    assert_eq!(machine.property("lapwing", "LoadState"), "not-found");
    machine.does("dpkg --purge lapwing");
    let left = machine.does(
        "find /etc /usr/bin /usr/lib /usr/share /var/lib /var/log -xdev -name '*lapwing*' -prune | sort",
    );
    let data = [
        "/etc/lapwing",
        "/var/lib/lapwing",
        "/var/lib/lapwing-sensor",
        "/var/lib/private/lapwing",
        "/var/lib/private/lapwing-sensor",
        "/var/log/lapwing",
        "/var/log/private/lapwing",
    ];
    assert_eq!(left.lines().collect::<Vec<_>>(), data);
    machine.does("test -e /etc/lapwing/lapwing.toml && test -e /var/lib/lapwing/ledger.db");
}
