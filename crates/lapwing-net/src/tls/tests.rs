//! Against servers with every sort of certificate, and against peers that speak something else.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testkit::{
    Hand,
    certs::{Authority, Pair, file, params, self_signed},
    code, net,
    peer::{Peer, gone, reset},
};

async fn serve(acceptor: TlsAcceptor) -> Peer {
    Peer::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                stream.write_all(b"hello").await.unwrap();
                gone(&mut stream).await;
            }
        }
    })
    .await
}

async fn shake(
    peer: &Peer,
    name: &str,
    settings: &TlsSettings,
) -> Result<(TlsStream<TcpStream>, Certificate), TlsFailure> {
    let net = net();
    let tls = net.tls(settings).unwrap();
    let stream = TcpStream::connect(peer.addr).await.unwrap();
    net.handshake(stream, &Host::parse(name).unwrap(), &tls).await
}

fn trusting(dir: &TempDir, pem: &str) -> TlsSettings {
    TlsSettings {
        ca: Some(file(dir, "ca.pem", pem)),
        ..TlsSettings::default()
    }
}

/// The verdict on `pair`, shown by a server that we call `name` and trust by `pem`.
async fn verdict(pair: &Pair, name: &str, pem: &str) -> Result<Certificate, (String, Certificate)> {
    let dir = tempdir().unwrap();
    let peer = serve(pair.acceptor(&[])).await;
    match shake(&peer, name, &trusting(&dir, pem)).await {
        Ok((_, certificate)) => Ok(certificate),
        Err(failure) => {
            assert!(matches!(failure.fault, Fault::Target(_)));
            Err((failure.fault.to_string(), failure.certificate.unwrap()))
        }
    }
}

#[tokio::test]
async fn a_good_certificate_and_its_facts() {
    let authority = Authority::new();
    let pair = authority.issue(&params(&["a.example", "*.b.example", "127.0.0.1", "::1"]));
    for name in ["a.example", "x.b.example", "127.0.0.1", "[::1]"] {
        let certificate = verdict(&pair, name, &authority.pem()).await.unwrap();
        assert_eq!(certificate.subject, "CN=leaf");
        assert_eq!(certificate.issuer, "CN=Test Authority");
        assert_eq!(
            certificate.names,
            ["a.example", "*.b.example", "127.0.0.1", "::1"]
        );
        assert_eq!(certificate.not_before.rfc3339(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(certificate.not_after.rfc3339(), "2027-01-01T00:00:00.000000Z");
        assert_eq!((certificate.self_signed, certificate.chain_len), (false, 1));
        assert_eq!(certificate.protocol, "TLSv1.3");
        assert!(certificate.cipher.starts_with("TLS13_"), "{}", certificate.cipher);
        assert_eq!(
            (certificate.fingerprint.len(), certificate.serial.is_empty()),
            (64, false)
        );
    }
}

/// `pair` is refused with this text, and accepted with the same facts where everything is.
async fn refused(authority: &Authority, pair: &Pair, name: &str, text: &str) {
    let (found, certificate) = verdict(pair, name, &authority.pem()).await.unwrap_err();
    assert_eq!(found, text);
    assert_eq!(certificate.subject, "CN=leaf");
    let insecure = TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    };
    let (mut stream, seen) = shake(&serve(pair.acceptor(&[])).await, name, &insecure)
        .await
        .unwrap();
    assert_eq!(
        Certificate {
            protocol: "",
            cipher: "",
            ..seen
        },
        certificate
    );
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"hello");
}

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = params(&["a.example", "b.example"]);
    change(&mut params);
    params
}

#[tokio::test]
async fn certificates_out_of_their_time() {
    let authority = Authority::new();
    let expired = authority.issue(&leaf(|p| p.not_after = date_time_ymd(2026, 2, 3)));
    refused(
        &authority,
        &expired,
        "a.example",
        "certificate expired on 2026-02-03 (tls.expired)",
    )
    .await;
    let future = authority.issue(&leaf(|p| p.not_before = date_time_ymd(2026, 12, 24)));
    let text = "certificate is not valid before 2026-12-24 (tls.not_yet_valid)";
    refused(&authority, &future, "a.example", text).await;
}

#[tokio::test]
async fn certificates_for_others() {
    let authority = Authority::new();
    let two = authority.issue(&leaf(|_| {}));
    let text = "certificate is for a.example, b.example, not c.example (tls.name)";
    refused(&authority, &two, "c.example", text).await;
    let text = "certificate is for a.example, b.example, not 127.0.0.1 (tls.name)";
    refused(&authority, &two, "127.0.0.1", text).await;
    let many = authority.issue(&params(&["a.e", "b.e", "c.e", "d.e", "e.e"]));
    let text = "certificate is for a.e, b.e, c.e and 2 more, not c.example (tls.name)";
    refused(&authority, &many, "c.example", text).await;
    let nameless = authority.issue(&params(&[]));
    refused(
        &authority,
        &nameless,
        "c.example",
        "certificate is for no name, not c.example (tls.name)",
    )
    .await;
}

#[tokio::test]
async fn certificates_that_nobody_vouches_for() {
    let authority = Authority::new();
    let stranger = Authority::named("Stranger").issue(&leaf(|_| {}));
    let text = "no trusted authority vouches for the certificate (issued by CN=Stranger) (tls.untrusted)";
    refused(&authority, &stranger, "a.example", text).await;
    let namesake = Authority::new().issue(&leaf(|_| {}));
    let text = "certificate's signature does not fit its issuer (tls.untrusted)";
    refused(&authority, &namesake, "a.example", text).await;
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let own = self_signed(&leaf(|p| p.is_ca = is_ca));
        refused(
            &authority,
            &own,
            "a.example",
            "certificate is self-signed (tls.untrusted)",
        )
        .await;
    }
    let client = authority.issue(&leaf(|p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }));
    let text = "certificate is not meant for servers (tls.certificate)";
    refused(&authority, &client, "a.example", text).await;
}

#[tokio::test]
async fn an_expired_authority_is_not_called_an_expired_leaf() {
    let (now, day) = (Hand::START, Duration::from_hours(24));
    let authority = Authority::new();
    let pair = authority.issue(&params(&["a.example"]));
    let (_, seen) = verdict(&pair, "b.example", &authority.pem()).await.unwrap_err();
    let ended = CertificateError::ExpiredContext {
        time: UnixTime::since_unix_epoch(now.since(Wall(0))),
        not_after: UnixTime::since_unix_epoch((now - day).since(Wall(0))),
    };
    let fault = certificate::fault(&ended, Some(&seen), &Host::parse("a.example").unwrap(), now);
    assert_eq!(
        fault.to_string(),
        "an issuer's certificate expired on 2026-11-19 (tls.expired)"
    );
    let revoked = certificate::fault(
        &CertificateError::Revoked,
        None,
        &Host::parse("a.example").unwrap(),
        now,
    );
    assert_eq!(code(&revoked), "tls.revoked");
}

#[tokio::test]
async fn a_certificate_in_the_ca_file_is_trusted_itself() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = params(&["a.example"]);
        params.is_ca = is_ca;
        let pair = self_signed(&params);
        let certificate = verdict(&pair, "a.example", &pair.pem).await.unwrap();
        assert!(certificate.self_signed);
        let (text, _) = verdict(&pair, "b.example", &pair.pem).await.unwrap_err();
        assert!(text.ends_with("(tls.name)"), "{text}");
        params.not_after = date_time_ymd(2026, 3, 4);
        let pair = self_signed(&params);
        let (text, _) = verdict(&pair, "a.example", &pair.pem).await.unwrap_err();
        assert_eq!(text, "certificate expired on 2026-03-04 (tls.expired)");
    }
}

#[tokio::test]
async fn peers_that_do_not_shake_hands() {
    type Script = &'static [u8];
    for (bytes, expected) in [
        (
            b"SSH-2.0-OpenSSH_9.9\r\n" as Script,
            "peer does not speak TLS (tls.protocol)",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "peer does not speak TLS (tls.protocol)",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x28",
            "peer sent alert handshake_failure (tls.alert)",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x46",
            "peer sent alert protocol_version (tls.alert)",
        ),
        (b"\x15\x03\x03\x00\x02\x02\xfb", "peer sent alert 251 (tls.alert)"),
        (b"\x16\x03\x03\xff\xff", "peer does not speak TLS (tls.protocol)"),
        (
            b"\x16\x03\x03\x00\x02\x02\x00",
            "peer closed the connection (connect.closed)",
        ),
        (b"", "peer closed the connection (connect.closed)"),
    ] {
        let peer = Peer::start(move |mut stream, _| async move {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            gone(&mut stream).await;
        })
        .await;
        let failure = shake(&peer, "a.example", &TlsSettings::default())
            .await
            .unwrap_err();
        assert_eq!(failure.fault.to_string(), expected, "{bytes:?}");
        assert!(failure.certificate.is_none());
    }
    let peer = Peer::start(|mut stream, _| async move {
        stream.read_u8().await.unwrap();
        reset(stream);
    })
    .await;
    let failure = shake(&peer, "a.example", &TlsSettings::default())
        .await
        .unwrap_err();
    assert_eq!(code(&failure.fault), "connect.reset");
}

#[tokio::test]
async fn client_certificates_are_shown() {
    let (authority, dir) = (Authority::new(), tempdir().unwrap());
    let peer = serve(authority.issue(&params(&["a.example"])).strict(&authority)).await;
    let mine = authority.issue(&params(&["me.example"]));
    let cert = file(&dir, "me.pem", &mine.pem);
    let key = file(&dir, "me.key", &mine.key.serialize_pem());
    let with = TlsSettings {
        client_cert: Some(ClientCert { cert, key }),
        ..trusting(&dir, &authority.pem())
    };
    let (mut stream, _) = shake(&peer, "a.example", &with).await.unwrap();
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    // Without one, TLS 1.3 tells us after the handshake.
    let (mut stream, _) = shake(&peer, "a.example", &trusting(&dir, &authority.pem()))
        .await
        .unwrap();
    let error = stream.read_exact(&mut hello).await.unwrap_err();
    let fault = fault_of(&error, Moment::Later);
    assert_eq!(
        fault.to_string(),
        "peer sent alert certificate_required (tls.alert)"
    );
}

#[tokio::test]
async fn a_verdict_on_our_certificate_is_waited_for() {
    let (authority, dir, net) = (Authority::new(), tempdir().unwrap(), net());
    let server = authority.issue(&params(&["a.example"]));
    let mine = authority.issue(&params(&["me.example"]));
    let with = TlsSettings {
        client_cert: Some(ClientCert {
            cert: file(&dir, "me.pem", &mine.pem),
            key: file(&dir, "me.key", &mine.key.serialize_pem()),
        }),
        ..trusting(&dir, &authority.pem())
    };
    let without = TlsSettings {
        client_cert: None,
        ..with.clone()
    };
    let other = server.strict(&Authority::named("Another"));
    for (acceptor, settings, expected) in [
        (
            server.strict(&authority),
            &without,
            "peer sent alert certificate_required (tls.alert)",
        ),
        (server.strict(&authority), &with, ""),
        (other, &with, "peer sent alert unknown_ca (tls.alert)"),
        (server.acceptor(&[]), &without, ""),
    ] {
        // Silent after the handshake, so that only an alert can be heard.
        let peer = Peer::start(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    gone(&mut stream).await;
                }
            }
        })
        .await;
        let tls = net.tls(settings).unwrap();
        let stream = TcpStream::connect(peer.addr).await.unwrap();
        let name = Host::parse("a.example").unwrap();
        let shaken = net.handshake_with_verdict(stream, &name, &tls, Duration::from_secs(1));
        match shaken.await {
            Ok(_) => assert_eq!(expected, ""),
            Err(failure) => {
                assert_eq!(failure.fault.to_string(), expected);
                assert!(failure.certificate.is_some());
            }
        }
    }
}

#[tokio::test]
async fn protocols_are_agreed_on() {
    let (authority, dir) = (Authority::new(), tempdir().unwrap());
    let peer = serve(
        authority
            .issue(&params(&["a.example"]))
            .acceptor(&[b"two", b"one"]),
    )
    .await;
    let offering = |names: &[&[u8]]| TlsSettings {
        alpn: names.iter().map(|n| n.to_vec()).collect(),
        ..trusting(&dir, &authority.pem())
    };
    let (stream, _) = shake(&peer, "a.example", &offering(&[b"one"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"one".as_slice()));
    let failure = shake(&peer, "a.example", &offering(&[b"three"]))
        .await
        .unwrap_err();
    assert_eq!(
        failure.fault.to_string(),
        "peer sent alert no_application_protocol (tls.alert)"
    );
}

#[test]
fn configurations_are_made_once_until_a_file_changes() {
    let (dir, net, authority) = (tempdir().unwrap(), net(), Authority::new());
    let settings = trusting(&dir, &authority.pem());
    let first = net.tls(&settings).unwrap();
    assert!(Arc::ptr_eq(&first, &net.clone().tls(&settings.clone()).unwrap()));
    let ca = settings.ca.as_ref().unwrap();
    let later = std::fs::metadata(ca).unwrap().modified().unwrap() + Duration::from_secs(9);
    std::fs::File::options()
        .append(true)
        .open(ca)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert!(!Arc::ptr_eq(&first, &net.tls(&settings).unwrap()));
    let plain = net.tls(&TlsSettings::default()).unwrap();
    assert!(Arc::ptr_eq(&plain, &net.tls(&TlsSettings::default()).unwrap()));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn errors_of_files_name_the_file_and_what_is_wrong() {
    let (dir, net, authority) = (tempdir().unwrap(), net(), Authority::new());
    let (one, other) = (
        authority.issue(&params(&["a.example"])),
        authority.issue(&params(&["a.example"])),
    );
    let cert = file(&dir, "cert.pem", &one.pem);
    let key = file(&dir, "other.key", &other.key.serialize_pem());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let ca = |path: PathBuf| TlsSettings {
        ca: Some(path),
        ..TlsSettings::default()
    };
    let client = |cert: &PathBuf, key: PathBuf| TlsSettings {
        client_cert: Some(ClientCert {
            cert: cert.clone(),
            key,
        }),
        ..TlsSettings::default()
    };
    // One that waits for whoever writes to it.
    let pipe = dir.path().join("pipe.pem");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (settings, name, what) in [
        (
            ca(dir.path().join("none.pem")),
            "none.pem",
            "cannot be read: No such file",
        ),
        (ca(pipe), "pipe.pem", "it is not a file"),
        (ca(dir.path().to_owned()), "", "it is not a file"),
        (
            ca(file(&dir, "empty.pem", "")),
            "empty.pem",
            "no certificate in it",
        ),
        (
            ca(file(&dir, "cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n")),
            "cut.pem",
            "the PEM text is damaged",
        ),
        (
            ca(file(
                &dir,
                "bad.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            )),
            "bad.pem",
            "certificate 1 in it is malformed",
        ),
        (
            client(&cert, key),
            "other.key",
            "the key does not belong to the certificate",
        ),
        (client(&cert, cert.clone()), "cert.pem", "no private key in it"),
        (
            client(&cert, file(&dir, "locked.key", encrypted)),
            "locked.key",
            "the key has a password",
        ),
        (
            client(&cert, dir.path().join("none.key")),
            "none.key",
            "cannot be read",
        ),
    ] {
        let error = net.tls(&settings).err().unwrap().to_string();
        assert_eq!(
            settings.check().unwrap_err().to_string(),
            error,
            "known beforehand"
        );
        assert!(error.contains(name) && error.contains(what), "{error}");
    }
    let good = TlsSettings {
        ca: Some(file(&dir, "ca.pem", &authority.pem())),
        ..client(&cert, file(&dir, "one.key", &one.key.serialize_pem()))
    };
    assert_eq!(good.check(), Ok(()));
    assert_eq!(TlsSettings::default().check(), Ok(()));
    let large = file(&dir, "large.pem", "");
    std::fs::File::options()
        .write(true)
        .open(&large)
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    let large = ca(large).check().unwrap_err();
    assert!(large.to_string().contains("larger than any"), "{large}");
    let device = ca("/dev/zero".into()).check().unwrap_err();
    assert!(device.to_string().contains("it is not a file"), "{device}");
}
