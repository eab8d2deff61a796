//! Monitors beside those of the files: what an added one may not say, and that no edit touches another one.
#![expect(clippy::too_many_lines, reason = "tables of rows")]

use std::{fs, sync::Arc};

use lapwing_core::time::Wall;
use lapwing_store::{Revision, added::Added};

use super::{super::Unwatched, Place, names, said};
use crate::config::Loaded;

fn added(name: &str, keys: &str) -> Arc<Added> {
    Arc::new(Added {
        name: name.to_owned(),
        text: format!("[[monitor]]\nname = \"{name}\"\n{keys}"),
        by: String::new(),
        at: Wall(0),
        created: Revision(1),
        modified: Revision(1),
    })
}

/// What is said of one that is left out.
fn left_out(loaded: &Loaded) -> Vec<String> {
    let said = |why: &Unwatched| match why {
        Unwatched::Unfit(report) => said(report),
        Unwatched::Filed(..) => vec![why.to_string()],
    };
    loaded
        .origins
        .left_out()
        .iter()
        .flat_map(|out| said(&out.why))
        .collect()
}

#[test]
fn what_would_be_stored_and_shown_is_refused() {
    let place = Place::new();
    let base = place.load("[web]\nlisten = \"off\"\n").unwrap();
    let fifo = place.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let path = fifo.display();
    let http = "target = \"http://a/\"\n";
    for (keys, expected) in [
        (
            format!("target = \"https://a/\"\nca = \"{path}\"\n"),
            "4:6 an added monitor reads no files; [defaults]",
        ),
        (
            format!("target = \"https://a/\"\nclient_cert = \"{path}\"\n"),
            "4:15 an added monitor reads no files",
        ),
        (
            format!("target = \"https://a/\"\nclient_cert = [\"{path}\"]\n"),
            "4:15 an added monitor reads no files",
        ),
        (
            format!("target = \"https://a/\"\nhttp.ca = \"{path}\"\n"),
            "4:11 an added monitor reads no files",
        ),
        (
            format!("target = \"tls://a:1?ca={path}\"\n"),
            "3:10 an added monitor reads no files",
        ),
        (
            format!("target = \"tls://{{host}}:1?ca={path}\"\nhosts = [\"a\"]\n"),
            "an added monitor reads no files",
        ),
        (
            format!("{http}headers = {{ Authorization = \"Bearer canary\" }}\n"),
            "4:29 Authorization does not stand in an added monitor itself; \"${NAME}\"",
        ),
        (
            format!("{http}headers = {{ X-Api-Key = 5 }}\n"),
            "X-Api-Key does not stand in",
        ),
        (
            format!("{http}headers = \"cookie: id=canary\"\n"),
            "4:11 cookie does not stand in",
        ),
        (
            format!("{http}headers = [\"A: b\", \"X-Token: canary\"]\n"),
            "4:20 X-Token does not stand in",
        ),
        (
            format!("{http}http.headers.My-Password = \"canary\"\n"),
            "My-Password does not stand in",
        ),
        (
            "target = \"tcp://${TOKEN}:1\"\n".to_owned(),
            "3:10 no variable can stand here",
        ),
        (
            "targets = [\"tcp://${TOKEN}:1\"]\n".to_owned(),
            "3:12 no variable can stand here",
        ),
        (
            format!("{http}labels = {{ a = \"${{TOKEN}}\" }}\n"),
            "no variable can stand here",
        ),
        (
            format!("{http}notify = [\"${{TOKEN}}\"]\n"),
            "no variable can stand here",
        ),
        (
            format!("{http}interval = \"${{NUMBER}}s\"\n"),
            "no variable can stand here",
        ),
        (
            "target = \"http://user:pw@a/\"\n".to_owned(),
            "a target URL may not hold a user name or password; auth = \"${PAGE_AUTH}\"",
        ),
    ] {
        let found = left_out(&base.with(vec![added("m", &keys)], &place.env()));
        let (message, hint) = expected.split_once("; ").unwrap_or((expected, ""));
        assert!(
            found.len() == 1 && found[0].contains(message) && found[0].contains(hint),
            "{keys}\n{found:#?}"
        );
        assert!(!found[0].contains("canary"), "{found:?}");
    }
    let good = format!(
        "{http}headers = {{ Authorization = \"Bearer ${{TOKEN}}\", Accept = \"text/html\" }}\nexpect_body = \"${{NUMBER}}\"\nlabels = {{ price = \"$$5\" }}\n"
    );
    assert_eq!(
        left_out(&base.with(vec![added("m", &good)], &place.env())),
        [""; 0]
    );
    // Whoever writes a file may say it there.
    let both = format!(
        "[[monitor]]\nname = \"m\"\ntarget = \"tcp://${{NUMBER}}.example:1\"\nlabels = {{ a = \"${{NUMBER}}\" }}\n[[monitor]]\nname = \"n\"\n{http}headers = {{ Cookie = \"a\" }}\n"
    );
    place.load(&both).unwrap();
}

#[test]
fn an_edit_reads_nothing_of_the_others_again() {
    let place = Place::new();
    let authority = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let ca = place.write("ca.pem", authority.cert.pem());
    let base = place.load("[defaults]\ntls.ca = \"ca.pem\"\n").unwrap();
    let first = added("first", "target = \"tls://127.0.0.1:1\"\n");
    let before = base.with(vec![Arc::clone(&first)], &place.env());
    fs::remove_file(&ca).unwrap();
    let second = added("second", "target = \"tcp://127.0.0.1:1\"\n");
    let after = before.with(vec![Arc::clone(&first), second], &place.env());
    assert_eq!(
        (names(&after), left_out(&after)),
        (vec!["first", "second"], vec![])
    );
    assert!(
        Arc::ptr_eq(&before.plan.series[0], &after.plan.series[0]),
        "the same, not another like it"
    );
    // What is itself changed is read, and so is all when the files are.
    let changed = added("first", "target = \"tls://127.0.0.1:1\"\ninterval = \"1m\"\n");
    let unfit = left_out(&after.with(vec![changed], &place.env()));
    assert!(unfit[0].contains("ca.pem"), "{unfit:?}");
    let gone = after
        .with(Vec::new(), &place.env())
        .with(vec![first], &place.env());
    assert!(names(&gone).is_empty(), "what was removed is not kept");
}

#[test]
fn heartbeats_are_known_together_whatever_is_edited() {
    let place = Place::new();
    let base = place.load("[heartbeat]\nhttp = \"127.0.0.1:0\"\n").unwrap();
    let beat = |name: &str, key: &str| {
        added(
            name,
            &format!("target = \"heartbeat:{name}\"\nkey = \"${{{key}}}\"\n"),
        )
    };
    let one = base.with(vec![beat("a", "KEY")], &place.env());
    let two = one.with(vec![beat("a", "KEY"), beat("b", "KEY")], &place.env());
    assert_eq!(names(&two), ["a"]);
    assert!(left_out(&two)[0].contains("two heartbeats have the same key"));
    let both = two.with(vec![beat("a", "KEY"), beat("b", "OTHER_KEY")], &place.env());
    assert_eq!(names(&both), ["a", "b"]);
    assert!(format!("{:?}", both.heartbeat.roster).contains("urls: 2"));
}
