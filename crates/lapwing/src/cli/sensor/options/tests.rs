//! Options from every side, and what is said to wrong ones: one sentence each.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

const GOOD: &str = "0123456789abcdef";

fn bare() -> Environment {
    Environment::of("", [("HOME", "/nonexistent/home")])
}

fn of_server(server: &str) -> Options {
    Options {
        server: Some(server.to_owned()),
        ..Options::default()
    }
}

fn refused(options: &Options, environment: &Environment) -> String {
    let failure = choose(options, environment).unwrap_err();
    assert!(failure.code == 2 && !failure.text.contains('\n'), "{failure:?}");
    assert!(!failure.text.contains(GOOD), "a key is shown: {failure:?}");
    failure.text
}

/// A file of options with this name and text.
fn file(name: &str, text: &str) -> (tempfile::TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let config = Some(path);
    (
        folder,
        Options {
            config,
            ..Options::default()
        },
    )
}

fn key_file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    let path = folder.join("home.key");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn servers_as_people_write_them() {
    for (text, shown) in [
        ("monitor.example.com", "monitor.example.com:7777"),
        ("monitor.example.com:9", "monitor.example.com:9"),
        ("192.0.2.1:65535", "192.0.2.1:65535"),
        ("2001:db8::1", "[2001:db8::1]:7777"),
        ("[2001:db8::1]", "[2001:db8::1]:7777"),
        ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ("fe80::1%eth0", "[fe80::1%eth0]:7777"),
    ] {
        let chosen = choose(&of_server(text), &bare()).unwrap();
        assert_eq!(chosen.server.to_string(), shown);
        assert_eq!((chosen.period, chosen.identity.is_none()), (PERIOD, true));
    }
    for (text, wrong) in [
        (
            "host:0",
            "\"0\" is not a port: a port is a number from 1 to 65535",
        ),
        ("host:65536", "\"65536\" is not a port"),
        ("host:", "\"\" is not a port"),
        ("host:http", "\"http\" is not a port"),
        (":7777", "the host is missing"),
        ("", "the host is missing"),
        ("two words", "\"two words\" is not a host name"),
        ("1:2:3", "is not an IPv6 address"),
        (
            "http://a.example:7777",
            "write HOST or HOST:PORT, without http://",
        ),
    ] {
        let said = refused(&of_server(text), &bare());
        assert!(said.contains(wrong), "{text}: {said}");
    }
    let nowhere = refused(&Options::default(), &bare());
    assert!(nowhere.ends_with("--server HOST"), "{nowhere}");
}

#[test]
fn the_original_file_is_read_as_it_is() {
    let (_folder, mut options) = file(
        "sensor.json",
        "{\"server\": \"monitor.example.com\", \"port\": 1234}",
    );
    let chosen = choose(&options, &bare()).unwrap();
    assert_eq!(chosen.server.to_string(), "monitor.example.com:1234");
    assert!(chosen.warnings.is_empty() && chosen.identity.is_none());
    let (_folder, quoted) = file("s.json", "{\"server\": \"a\", \"port\": \"17777\"}");
    assert_eq!(choose(&quoted, &bare()).unwrap().server.to_string(), "a:17777");
    // What stands on the command line wins, each by itself.
    options.server = Some("other.example.com".to_owned());
    assert_eq!(
        choose(&options, &bare()).unwrap().server.to_string(),
        "other.example.com:1234"
    );
    options.server = Some("other.example.com:5".to_owned());
    assert_eq!(
        choose(&options, &bare()).unwrap().server.to_string(),
        "other.example.com:5"
    );
}

#[test]
fn the_file_may_hold_everything_but_the_key() {
    for (name, text) in [
        (
            "s.json",
            "\u{feff}{\"server\": \"a.example\", \"id\": \"home\", \"key_file\": \"home.key\", \"period\": \"1m\", \"colour\": 7}",
        ),
        (
            "s.toml",
            "server = \"a.example\"\nid = \"home\"\nkey_file = \"home.key\"\nperiod = \"1m\"\ncolour = 7\n",
        ),
    ] {
        let (folder, mut options) = file(name, text);
        // A relative path starts at the folder of the file that it stands in.
        key_file(folder.path(), &format!("{GOOD}\n"), 0o600);
        let chosen = choose(&options, &bare()).unwrap();
        let identity = chosen.identity.unwrap();
        assert_eq!(
            (identity.id.as_str(), identity.key.expose(), chosen.period),
            ("home", GOOD, Duration::from_mins(1))
        );
        assert_eq!(chosen.warnings.len(), 1);
        assert!(
            chosen.warnings[0]
                .text
                .contains("\"colour\" means nothing to a sensor")
        );
        options.id = Some("away".to_owned());
        options.period = Some("2s".to_owned());
        let chosen = choose(&options, &bare()).unwrap();
        assert_eq!(chosen.identity.unwrap().id.as_str(), "away");
        assert_eq!(chosen.period, Duration::from_secs(2));
    }
}

#[test]
fn a_wrong_file_is_one_sentence_with_its_place() {
    for (name, text, wrong) in [
        ("s.json", "", "s.json:1:0: this is not JSON: EOF"),
        (
            "s.json",
            "{\"server\": \"a\",\n \"port\": }",
            "s.json:2:10: this is not JSON: expected value",
        ),
        ("s.json", "[1]", "s.json: it must be an object"),
        (
            "s.json",
            "{\"server\": 5}",
            "s.json: \"server\" must be text in quotes, and is 5",
        ),
        (
            "s.json",
            "{\"server\": \"a\", \"port\": \"http\"}",
            "s.json: \"port\" must be a number from 1 to 65535, and is \"http\"",
        ),
        (
            "s.json",
            "{\"server\": \"a\", \"key\": \"0123456789abcdef\"}",
            "s.json: a key never stands in this file: write it to a file of its own and give \"key_file\"",
        ),
        ("s.json", "{\"server\": \"a\", \"port\": 0}", "and is 0"),
        ("s.json", "{\"server\": \"a\", \"port\": 65536}", "and is 65536"),
        ("s.json", "{\"server\": \"a\", \"port\": 1.5}", "and is 1.5"),
        ("s.json", "{\"port\": 5}", "\"server\" in the file"),
        (
            "s.json",
            "{\"server\": \"a\", \"period\": 30}",
            "\"period\" must be text",
        ),
        ("s.toml", "server = \"a\"\nport =", "s.toml:2:7: this is not TOML"),
        ("s.toml", "server = 1", "\"server\" must be text"),
    ] {
        let (_folder, options) = file(name, text);
        let said = refused(&options, &bare());
        assert!(said.contains(wrong), "{text}: {said}");
    }
    let (folder, mut options) = file("s.json", &"x".repeat(70_000));
    assert!(refused(&options, &bare()).contains("larger than 64 KiB"));
    options.config = Some(folder.path().join("none.json"));
    assert!(refused(&options, &bare()).contains("none.json cannot be read"));
    options.config = Some(folder.path().to_owned());
    assert!(refused(&options, &bare()).contains("cannot be read"));
}

#[test]
fn periods_have_bounds() {
    for (text, wrong) in [
        ("999ms", "the period \"999ms\" must lie between 1s and 1d"),
        ("25h", "must lie between 1s and 1d"),
        ("30", "\"30\" is not a length of time"),
        ("", "is not a length of time"),
    ] {
        let mut options = of_server("a");
        options.period = Some(text.to_owned());
        let said = refused(&options, &bare());
        assert!(said.contains(wrong), "{said}");
    }
}

#[test]
fn keys_come_from_files_and_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = key_file(folder.path(), &format!("{GOOD}file\r\n"), 0o600);
    let mut options = of_server("a");
    options.id = Some("home".to_owned());
    let key = |options: &Options, environment: &Environment| {
        let chosen = choose(options, environment).unwrap();
        chosen.identity.unwrap().key.expose().to_owned()
    };
    let shown = path.to_str().unwrap();
    let both = Environment::of("", [(KEY, GOOD), (KEY_FILE, shown)]);
    assert_eq!(key(&options, &both), GOOD);
    assert_eq!(
        key(&options, &Environment::of("", [(KEY, ""), (KEY_FILE, shown)])),
        format!("{GOOD}file")
    );
    // systemd's folder of credentials is looked in too.
    let credentials = Environment::of("", [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
    options.key_file = Some(PathBuf::from("home.key"));
    assert_eq!(key(&options, &credentials), format!("{GOOD}file"));
    options.key_file = Some(path.clone());
    assert_eq!(
        key(&options, &both),
        format!("{GOOD}file"),
        "the command line wins"
    );
    for mode in [0o640, 0o604] {
        key_file(folder.path(), GOOD, mode);
        let said = refused(&options, &bare());
        assert!(
            said.contains("can be read by others") && said.contains("chmod 600"),
            "{said}"
        );
    }
    for text in ["", "short", "with a space in it", &"x".repeat(129)] {
        key_file(folder.path(), text, 0o600);
        let said = refused(&options, &bare());
        assert!(said.contains("is no key: a key has 16 to 128"), "{said}");
        assert!(text.is_empty() || !said.contains(text), "it is shown: {said}");
    }
    fs::remove_file(&path).unwrap();
    assert!(refused(&options, &bare()).contains("cannot be read: it does not exist"));
}

#[test]
fn an_id_and_a_key_belong_together() {
    let mut options = of_server("a");
    options.id = Some("home".to_owned());
    let said = refused(&options, &bare());
    assert!(
        said.contains("the id \"home\" needs a key") && said.contains("keygen"),
        "{said}"
    );
    let environment = Environment::of("", [(KEY, GOOD)]);
    for id in ["", "with space", "größe", &"x".repeat(33)] {
        options.id = Some(id.to_owned());
        let said = refused(&options, &environment);
        assert!(
            said.contains("is no id: a sensor id has 1 to 32 characters"),
            "{said}"
        );
    }
    options.id = None;
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    match choose(&options, &environment) {
        Ok(chosen) => assert_eq!(chosen.identity.unwrap().id.as_str(), own),
        Err(failure) => assert!(failure.text.contains("cannot be an id"), "{failure:?}"),
    }
}

#[test]
fn the_state_has_its_folder() {
    let folder = |given: Option<&str>, variables: &[(&str, &str)]| {
        let environment = Environment::of("", variables.iter().copied());
        state_folder(given.map(Path::new), &environment)
    };
    let all = [
        ("STATE_DIRECTORY", "/var/lib/lapwing:/var/lib/other"),
        ("XDG_STATE_HOME", "/xdg"),
        ("HOME", "/home/ada"),
    ];
    for (given, variables, expected) in [
        (Some("here"), &all[..], Some("here")),
        (None, &all[..], Some("/var/lib/lapwing")),
        (None, &all[1..], Some("/xdg/lapwing")),
        (None, &all[2..], Some("/home/ada/.local/state/lapwing")),
        (None, &[("HOME", "")], None),
        (None, &[("STATE_DIRECTORY", "")], None),
    ] {
        assert_eq!(folder(given, variables), expected.map(PathBuf::from));
    }
}
