//! A TCP port with a banner: sshd, and what may stand in its place.

use crate::{
    certificates::Authority,
    place::{FAR, Place},
    scene::{Scene, monitor},
    servers::{Impostor, Sshd},
};

fn scene(act: impl FnOnce(&Scene<'_>, &Sshd<'_>, &Place)) {
    let (place, authority) = (Place::new(), Authority::new());
    let sshd = Sshd::start(&place);
    let ([v4, v6], port, banner) = (FAR, Sshd::PORT, "expect = \"SSH-2.0\"");
    let monitors = [
        monitor("ssh4", &format!("tcp://{v4}:{port}"), banner),
        monitor("ssh6", &format!("tcp://[{v6}]:{port}"), banner),
    ];
    let scene = Scene::start(&place, &authority, &monitors.concat());
    act(&scene, &sshd, &place);
    scene.finish();
}

fn both(code: &str) -> [(&str, &str); 2] {
    [("ssh4", code), ("ssh6", code)]
}

#[test]
fn needs_sshd_another_server_has_taken_its_port() {
    scene(|scene, sshd, place| {
        let impostor = std::cell::Cell::new(None);
        let usurp = || {
            sshd.stop();
            impostor.set(Some(Impostor::stand(
                place,
                Sshd::PORT,
                "220 mail.lapwing.test ESMTP\r\n",
            )));
        };
        let restore = || {
            drop(impostor.take());
            sshd.resume();
        };
        scene.outage(&both("tcp.mismatch"), usurp, restore);
        let down = scene.newest("down", "ssh4");
        assert!(
            down["reason"]["detail"]
                .as_str()
                .unwrap()
                .contains("220 mail.lapwing.test"),
            "{down:#}"
        );
    });
}

#[test]
fn needs_sshd_stopped() {
    scene(|scene, sshd, _| {
        scene.outage(&both("connect.refused"), || sshd.stop(), || sshd.resume());
    });
}
