//! Values from the environment and from files; and that none of them is ever shown.

use std::{fs, os::unix::fs::PermissionsExt};

use lapwing_core::kind::OptionValue;

use super::{Place, said};
use crate::config::{effective, notifier_options};

const M: &str = "[[monitor]]\nname = \"m\"\ntarget = \"tcp://a:1\"\n";
const HOOK: &str = "[notify.h]\ntype = \"webhook\"\nurl = \"https://h.example/x\"\n";

#[test]
fn variables_stand_anywhere() {
    let place = Place::new();
    let text = "[[monitor]]\nname = \"n${NUMBER}\"\ntarget = \"tcp://h${NUMBER}:1\"\nfailure_threshold = \"${NUMBER}\"\n\
                interval = \"${NUMBER}s\"\nexpect = \"a$$b$c\"\nlabels = { a = \"${NUMBER}$${x}\" }\n";
    let loaded = place.load(text).unwrap();
    let series = &loaded.plan.series[0];
    assert_eq!(
        (series.name.as_str(), series.target.as_str()),
        ("n7", "tcp://h7:1")
    );
    assert_eq!(series.monitor.policy.interval.as_secs(), 7);
    assert_eq!(series.monitor.labels[0].1, "7${x}");
    for (value, message) in [
        ("${NOPE}", "4:11 the environment variable NOPE is not set; set it"),
        ("x${NOPE", "4:12 the ${ is not closed by a }; $$"),
        ("${}", "4:11 ${…} does not hold the name of a variable"),
        ("${a-b}", "4:11 ${…} does not hold the name of a variable"),
    ] {
        let report = place.load(&format!("{M}expect = \"{value}\"\n")).unwrap_err();
        assert_eq!(report.diagnostics().len(), 1);
        let (message, hint) = message.split_once("; ").unwrap_or((message, ""));
        assert!(
            said(&report)[0].starts_with(message) && said(&report)[0].contains(hint),
            "{report}"
        );
    }
}

#[test]
fn a_secret_file_is_for_its_owner_alone() {
    let mut place = Place::new();
    let file = place.write("hook.token", "file-secret\r\n");
    let text = format!("{M}{HOOK}headers = {{ Authorization = {{ file = \"hook.token\" }} }}\n");
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o601, false),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        match place.load(&text) {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(report) => {
                assert!(!good, "{report}");
                let (line, shown) = (said(&report)[0].clone(), report.to_string());
                assert!(
                    line.contains("can be read by others (mode 0") && line.contains("chmod 600 "),
                    "{line}"
                );
                assert!(
                    shown.contains("headers = { Authorization = { file = \"hook.token\" } }"),
                    "{shown}"
                );
            }
        }
    }
    let path = place.write("lapwing.toml", &text);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let options = notifier_options(&path, &place.env(), "h").unwrap();
    let Some(OptionValue::Table(headers)) = options.get("headers") else {
        panic!("{options:?}")
    };
    assert_eq!(headers[0].1, OptionValue::Text("file-secret".to_owned()));
    assert!(
        notifier_options(&path, &place.env(), "g")
            .unwrap_err()
            .to_string()
            .contains("did you mean \"h\"?")
    );

    // A credential of systemd is readable for the group by its mask alone.
    fs::remove_file(&file).unwrap();
    let credential = place.write("credentials/hook.token", "x");
    place.variables.push((
        "CREDENTIALS_DIRECTORY".to_owned(),
        place.path().join("credentials").display().to_string(),
    ));
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(place.load(&text).is_ok());
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(place.load(&text).is_err());
    fs::remove_file(&credential).unwrap();
    let report = place.load(&text).unwrap_err();
    assert!(
        said(&report)[0].contains("it was also looked for at "),
        "{report}"
    );
    fs::create_dir(place.path().join("hook.token")).unwrap();
    assert!(
        place
            .load(&text)
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
}

#[test]
fn a_pipe_does_not_hold_us_up() {
    let place = Place::new();
    nix::unistd::mkfifo(
        &place.path().join("pipe"),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    let text = format!("{M}{HOOK}headers = {{ A = {{ file = \"pipe\" }} }}\nca = \"x\"\n");
    assert!(
        place
            .load(&text)
            .unwrap_err()
            .to_string()
            .contains("is not a file")
    );
}

#[test]
fn no_error_shows_a_secret() {
    let place = Place::new();
    let file = place.write("token", "canary-file\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for text in [
        "[notify.x]\ntype = \"slack\"\nwebhok_url = \"https://hooks.example.com/canary\"\n",
        "[notify.x]\ntype = \"slack\"\nwebhook_url = \"canary not a URL\"\n",
        "[notify.x]\ntype = \"slack\"\nwebhook_url = \"https://canary\n",
        "[notify.x]\ntype = \"slack\"\nwebhook_url = canary\n",
        "[notify.x]\ntype = \"slack\"\nwebhook_url = [\n  canary,\n]\n",
        "[notify.x]\ntype = \"slak\"\nwebhook_url = \"canary\"\nother = [\"canary\", { a = \"canary\" }]\n",
        "[notify.x]\ntype = \"telegram\"\ntoken = [\"canary\"]\nchat_id = \"1\"\n",
        "[notify.x]\ntype = \"telegram\"\ntoken = \"canary\"\nchat_ids = \"1\"\n",
        "[notify.x]\ntype = \"telegram\"\napi = \"${TOKEN}\"\ntoken = \"x\"\nchat_id = \"1\"\n",
        "[notify.x]\ntype = \"webhook\"\nurl = \"https://x.example\"\nheaders = { A = \"canary\", method = 3 }\nmethud = \"x\"\n",
        "[notify.x]\ntype = \"file\"\npath = \"x\"\nrate_limit = { file = \"token\" }\n",
        "[notify]\nx = \"canary\"\n",
        "password = \"canary\"\n",
        "[web]\npassword = \"canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nauth = [\"canary\"]\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nauht = \"user:canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nheaders = { A = \"canary\" }\nstatus = \"${TOKEN}\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nstatus = { file = \"token\" }\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"tcp://a:1\"\nkey = \"canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nkey = \"canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nkey = [\"${KEY}\", \"canary\"]\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nkey = \"${NUMBER}canary${NUMBER}\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nheartbeat.key = \"canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a?key=canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nkey = [\"${KEY}\", \"${KEY}\"]\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"heartbeat:a\"\nkey = { file = \"token\" }\n",
        "[defaults]\nkey = \"canary\"\n",
        "[heartbeat]\nkey = \"canary\"\n",
        "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nhttps = { auth = \"canary\", x = 1 }\n",
    ] {
        let shown = place.load(&format!("{M}{text}")).expect_err(text).render(false);
        assert!(!shown.contains("canary"), "{text}\n{shown}");
    }
}

#[test]
fn what_is_shown_holds_no_secret() {
    let place = Place::new();
    let file = place.write("token", "canary-file\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[[monitor]]\nname = \"a\"\ntarget = \"https://a\"\nauth = \"user:canary\"\nheaders = { Cookie = \"canary\" }\n\
                expect_body = \"${TOKEN}\"\nbody = { file = \"token\" }\n\
                [notify.s]\ntype = \"slack\"\nwebhook_url = \"https://hooks.example.com/canary\"\n\
                [notify.c]\ntype = \"command\"\nargv = [\"/bin/x\", \"--token=${TOKEN}\"]\n";
    let shown = effective(&place.write("lapwing.toml", text), &place.env()).unwrap();
    assert!(!shown.contains("canary"), "{shown}");
    for line in [
        "auth = \"***\"",
        "headers = { Cookie = \"***\" }",
        "webhook_url = \"***\"",
        "body = \"***\"",
    ] {
        assert!(shown.contains(&format!("\n{line}\n")), "{line}\n{shown}");
    }
}
