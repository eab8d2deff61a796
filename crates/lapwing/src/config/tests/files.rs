//! Where a configuration is found, and folders of several files.

use std::path::Path;

use super::{Place, said};
use crate::config::{Environment, likely_store_path, load, locate, store_path};

const GOOD: &str = "[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n";

#[test]
fn it_is_looked_for_in_order() {
    let place = Place::new();
    let home = place.path().join("home");
    let env = Environment::of(place.path(), [("HOME", home.to_str().unwrap())]);
    let report = locate(None, &env).unwrap_err().to_string();
    for looked in [
        "./lapwing.toml",
        "home/.config/lapwing/",
        "/etc/lapwing/",
        "lapwing config init",
    ] {
        assert!(report.contains(looked), "{report}");
    }
    place.write("home/.config/lapwing/x.toml", GOOD);
    assert_eq!(locate(None, &env).unwrap(), home.join(".config/lapwing"));
    let here = place.write("lapwing.toml", GOOD);
    assert_eq!(locate(None, &env).unwrap(), here);
    let other = place.write("other.toml", GOOD);
    let named = Environment::of(place.path(), [("LAPWING_CONFIG", "other.toml")]);
    assert_eq!(locate(None, &named).unwrap(), other);
    assert_eq!(locate(Some(Path::new("lapwing.toml")), &named).unwrap(), here);
    let report = locate(Some(Path::new("gone.toml")), &named)
        .unwrap_err()
        .to_string();
    assert!(
        report.contains("given by --config, cannot be read: it does not exist"),
        "{report}"
    );
}

#[test]
fn a_folder_is_one_configuration() {
    let place = Place::new();
    place.write(
        "conf/10-defaults.toml",
        "[defaults]\ninterval = \"7s\"\nnotify = [\"b\"]\n[web]\nlisten = \"off\"\n",
    );
    place.write("conf/20.toml", GOOD);
    place.write(
        "conf/30.toml",
        "\u{feff}[notify.b]\ntype = \"file\"\npath = \"x\"\n",
    );
    place.write("conf/.hidden.toml", "bad");
    place.write("conf/readme.txt", "bad");
    let folder = place.path().join("conf");
    let loaded = load(&folder, &place.env()).unwrap();
    assert_eq!(loaded.plan.series[0].monitor.policy.interval.as_secs(), 7);
    assert_eq!(loaded.plan.series[0].monitor.notify.len(), 1);
    assert_eq!(loaded.store.path, folder.join("data"));
    // What may stand once, and where it stands already.
    place.write(
        "conf/40.toml",
        format!("[defaults]\n{GOOD}[notify.b]\ntype = \"file\"\npath = \"x\"\n[web]\nlisten = \"off\"\n"),
    );
    let report = load(&folder, &place.env()).unwrap_err();
    let first = |d: &crate::config::diagnostic::Diagnostic| {
        let (_, at) = d.also.clone().unwrap();
        format!(
            "{}:{} {}",
            Path::new(&at.path).file_name().unwrap().display(),
            at.line,
            d.message
        )
    };
    assert_eq!(
        report.diagnostics().iter().map(first).collect::<Vec<_>>(),
        [
            "10-defaults.toml:1 a configuration has one [defaults]",
            "20.toml:2 the name \"m\" is given to two monitors",
            "30.toml:1 the notifier \"b\" stands twice",
            "10-defaults.toml:4 [web] stands twice",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_said() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    let report = load(&place.path().join("empty"), &place.env())
        .unwrap_err()
        .to_string();
    assert!(report.contains("holds no *.toml"), "{report}");
    let path = place.write("bytes.toml", b"a = 1\n\xff");
    let report = load(&path, &place.env()).unwrap_err().to_string();
    assert!(report.contains("it is not UTF-8 text (line 2)"), "{report}");
    let report = load(&place.path().join("gone.toml"), &place.env())
        .unwrap_err()
        .to_string();
    assert!(report.contains("it does not exist"), "{report}");
}

#[test]
fn the_data_folder_needs_no_secrets() {
    let place = Place::new();
    let text = format!(
        "{GOOD}[notify.x]\ntype = \"slack\"\nwebhook_url = \"${{MISSING}}\"\n[store]\npath = \"here\"\n"
    );
    let path = place.write("lapwing.toml", &text);
    assert!(load(&path, &place.env()).is_err());
    assert_eq!(
        store_path(&path, &place.env()).unwrap(),
        place.path().join("here")
    );
    let path = place.write("lapwing.toml", "[store]\npath = 3\n");
    assert_eq!(said(&store_path(&path, &place.env()).unwrap_err()).len(), 1);
}

#[test]
fn the_data_folder_is_told_in_spite_of_mistakes() {
    let place = Place::new();
    for (text, folder) in [
        (&b"x = [\n[store]\npath = \"here\"\n"[..], "here"),
        (b"[store]\npath = \"here\"\n[[monitor]\nname = \n", "here"),
        (b"[store]\npath = \"here\"\nraw = 3\n[[monitor]]\nx = [", "here"),
        (b"[store]\npath = \nx = [", "data"),
        (b"\xff", "data"),
    ] {
        let path = place.write("lapwing.toml", text);
        let shown = String::from_utf8_lossy(text);
        assert!(store_path(&path, &place.env()).is_err(), "{shown}");
        assert_eq!(
            likely_store_path(&path, &place.env()),
            place.path().join(folder),
            "{shown}"
        );
    }
}
