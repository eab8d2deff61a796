//! Everything that a person needs works for a user who may do nothing that others may not; and what another user's daemon
//! keeps for itself is refused in a sentence.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
};

use crate::{
    kit::{Home, Ran},
    peers::Door,
};

/// Neither groups nor capabilities, none to be had by a program either; in a network where such a user may not ping.
const NOBODY: [&str; 14] = [
    "unshare",
    "--net",
    "sh",
    "-c",
    "ip link set lo up && exec \"$@\"",
    "sh",
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "--no-new-privs",
    "--",
];
/// The same user in the network of the machine.
const SAME: [&str; 5] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--",
];

fn as_nobody(home: &Home, args: &[&str]) -> Ran {
    Ran::of(home.through(&SAME).args(args))
}

#[test]
fn needs_root_needs_unshare_needs_ip_needs_setpriv_a_user_without_privileges_needs_none() {
    let home = Home::quick(
        "[[monitor]]\nname = \"port\"\ntarget = \"tcp://127.0.0.1:7\"\n\
         [[monitor]]\nname = \"ping\"\ntarget = \"icmp://127.0.0.1\"\n\
         [[monitor]]\nname = \"echo\"\ntarget = \"udp-echo://127.0.0.1:7007\"\n\
         [echo]\nlisten = \"127.0.0.1:7007\"\n[notify.file]\ntype = \"file\"\npath = \"alerts.txt\"\n",
    );
    chown(home.folder(), Some(65_534), Some(65_534)).unwrap();
    let daemon = home.start_as(home.through(&NOBODY).arg("run"));
    daemon.wait_state("port", "down");
    daemon.wait_state("echo", "up");
    let ping = daemon.wait_state("ping", "inconclusive");
    assert_eq!(ping["reason"]["code"], "ours.permission", "{ping}");
    assert!(
        ping["reason"]["detail"]
            .as_str()
            .unwrap()
            .contains("net.ipv4.ping_group_range"),
        "it says what to do: {ping}"
    );
    for (args, code) in [
        (&["status"][..], 1),
        (&["status", "--all", "--json"], 1),
        (&["ack", "port", "--reason", "on my way"], 0),
        (&["silence", "port", "--for", "1h"], 0),
        (&["pause", "echo"], 0),
        (&["resume", "echo"], 0),
        (&["events"], 0),
        (&["reload"], 0),
        (&["report", "--last", "1h"], 0),
        (&["report", "--format", "html", "--out", "report.html"], 0),
        (&["backup", "all.tar"], 0),
        (&["notify", "test"], 0),
        (&["completions", "bash", "--", "lapwing", "pause", "po"], 0),
        (&["config", "show"], 0),
    ] {
        let ran = as_nobody(&home, args);
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{args:?}: {ran:?}");
    }
    assert!(
        home.read("alerts.txt").contains("DOWN port"),
        "{}",
        home.read("alerts.txt")
    );
    daemon.stop();
}

#[test]
fn needs_root_needs_setpriv_the_daemon_of_another_user_is_refused_in_a_sentence() {
    let door = Door::open();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ));
    fs::set_permissions(home.folder(), Permissions::from_mode(0o755)).unwrap();
    let daemon = home.start();
    daemon.wait_state("web", "up");
    for args in [
        &["status"][..],
        &["status", "--watch"],
        &["events"],
        &["events", "--follow"],
        &["pause", "web"],
        &["reload"],
        &["report"],
        &["config", "export"],
    ] {
        let ran = as_nobody(&home, args);
        let said = ran.refused();
        assert!(
            said.contains("Permission denied")
                && said.ends_with("as the user who runs the daemon, or as root"),
            "{args:?}: {said}"
        );
    }
    let typing = as_nobody(&home, &["completions", "bash", "--", "lapwing", "pause", "w"]);
    assert_eq!(
        (typing.code, typing.out.as_str(), typing.err.as_str()),
        (0, "", "")
    );
    daemon.stop();
}
