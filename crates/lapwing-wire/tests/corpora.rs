//! Replays the committed fuzz corpora through the bodies of the fuzz targets.

use std::{fs, path::Path};

use lapwing_wire::{
    echo::Datagram,
    fuzzing,
    heartbeat::{self, Beat, Plain, Reply},
};

/// The files of a corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).expect("the corpus is in the repository");
    let files = files.map(|entry| {
        let path = entry.expect("the folder can be read").path();
        let bytes = fs::read(&path).expect("the file can be read");
        (path.display().to_string(), bytes)
    });
    files.collect()
}

/// What a name in the corpus promises about the bytes.
fn count(corpus: &[(String, Vec<u8>)], holds: impl Fn(&[u8]) -> bool) -> usize {
    corpus.iter().filter(|(_, bytes)| holds(bytes)).count()
}

#[test]
fn heartbeats() {
    let corpus = corpus("heartbeat");
    for (_, bytes) in &corpus {
        fuzzing::heartbeat(bytes);
    }
    // A corpus that no longer reaches a branch tests nothing.
    assert!(
        count(&corpus, |b| Beat::parse(b).is_ok()
            && heartbeat::verify(b, fuzzing::KEY))
            >= 3
    );
    assert!(
        count(&corpus, |b| Reply::parse(b).is_ok()
            && heartbeat::verify(b, fuzzing::KEY))
            >= 3
    );
    assert!(
        count(&corpus, |b| Beat::parse(b).is_ok()
            && !heartbeat::verify(b, fuzzing::KEY))
            >= 1
    );
    assert!(count(&corpus, heartbeat::is_other_version) >= 1);
    assert!(count(&corpus, |b| Plain::parse(b) == Some(Plain::Ping)) >= 1);
    assert!(count(&corpus, |b| matches!(Plain::parse(b), Some(Plain::Boot(_)))) >= 2);
}

#[test]
fn echoes() {
    let corpus = corpus("echo");
    for (_, bytes) in &corpus {
        fuzzing::echo(bytes);
    }
    assert!(
        count(&corpus, |b| matches!(
            Datagram::parse(b),
            Ok(Datagram::Request(_))
        )) >= 2
    );
    assert!(count(&corpus, |b| matches!(Datagram::parse(b), Ok(Datagram::Reply(..)))) >= 1);
    assert!(count(&corpus, |b| Datagram::parse(b).is_err()) >= 3);
}
