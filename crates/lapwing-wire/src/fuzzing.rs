//! What must hold for any bytes: the bodies of the fuzz targets, run on the committed corpora by a normal test too.
//! Panics when it does not hold; for nothing but tests.

use crate::{
    echo::{self, Datagram, HEADER_LEN, Stamp},
    heartbeat::{self, Beat, LEN, PLAIN_MAX, Plain, Reply, SensorId},
};

/// The key of the signed datagrams in the corpus.
pub const KEY: &[u8] = b"0123456789abcdef";

/// Bytes that arrive at a heartbeat listener or at a sensor.
pub fn heartbeat(bytes: &[u8]) {
    let (beat, reply) = (Beat::parse(bytes), Reply::parse(bytes));
    let id = heartbeat::peek(bytes).ok();
    assert_eq!(id.is_some(), beat.is_ok() || reply.is_ok());
    assert!(beat.is_err() || reply.is_err(), "one direction");
    assert_eq!(reply.is_ok(), id.is_some() && heartbeat::is_reply(bytes));
    if let Some(id) = id {
        assert!(heartbeat::is_marked(bytes) && !heartbeat::is_other_version(bytes));
        assert_eq!(SensorId::parse(id.as_str()), Ok(id));
        let again = beat
            .map(|beat| beat.write(&id, KEY))
            .or(reply.map(|reply| reply.write(&id, KEY)));
        let again = again.expect("one of them was read");
        assert_eq!(again[..LEN - 16], bytes[..LEN - 16], "nothing is lost");
        assert_eq!(heartbeat::verify(bytes, KEY), again == bytes);
    }
    match Plain::parse(bytes) {
        Some(Plain::Boot(text)) => {
            assert!(bytes.len() <= PLAIN_MAX && !text.contains(char::is_control));
            let _ = heartbeat::uptime(text);
        }
        Some(Plain::Ping) => assert!(bytes.starts_with(b"PING")),
        None => {}
    }
}

/// Bytes that arrive at an echo server or at an asker.
pub fn echo(bytes: &[u8]) {
    let stamp = Stamp { received: 7, at: -1 };
    let read = Datagram::parse(bytes);
    let mut answered = bytes.to_vec();
    let answer = echo::answer(&mut answered, stamp);
    assert_eq!(answered.len(), bytes.len(), "no amplification");
    match read {
        Ok(Datagram::Request(request)) => {
            assert!(echo::is_marked(bytes));
            assert_eq!(answer, Ok(request));
            assert_eq!(Datagram::parse(&answered), Ok(Datagram::Reply(request, stamp)));
            assert_eq!(
                answered[HEADER_LEN..],
                bytes[HEADER_LEN..],
                "the padding comes back"
            );
            assert!(
                echo::answer(&mut answered, stamp).is_err(),
                "a reply is never answered"
            );
        }
        Ok(Datagram::Reply(..)) | Err(_) => {
            assert!(answer.is_err());
            assert_eq!(answered, bytes);
        }
    }
}
