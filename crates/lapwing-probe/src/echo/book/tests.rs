//! Runs against a server that is played: what is lost, doubled, overtaken and forgotten, and what the book makes of it.

use lapwing_core::time::Wall;
use lapwing_wire::echo::answer;

use super::*;

fn at(ms: u64) -> Now {
    Now {
        wall: Wall(0),
        mono: Mono(1_000_000 + ms * 1000),
    }
}

/// A run that sends a datagram each 10 ms; a server answers after as many.
struct Run {
    book: Book,
    /// Of each sequence number, from 1.
    packets: Vec<Vec<u8>>,
    ms: u64,
}

impl Run {
    fn new(count: u64) -> Self {
        let mut run = Self {
            book: Book::new(7, 48),
            packets: vec![Vec::new()],
            ms: 0,
        };
        (0..count).for_each(|_| run.send());
        run
    }

    fn send(&mut self) {
        self.ms += 10;
        let mut packet = vec![0; 48];
        self.book.write_next(at(self.ms).mono, &mut packet);
        assert_eq!(self.book.sent_at(at(self.ms).mono), self.packets.len() as u64);
        self.packets.push(packet);
    }

    /// The echo of `seq` by a server that has received `received`.
    fn echo(&mut self, seq: usize, received: u32) -> Arrival {
        let mut bytes = self.packets[seq].clone();
        answer(&mut bytes, Stamp { received, at: 0 }).unwrap();
        self.book.receive(&bytes, at(self.ms + 5)).unwrap().unwrap()
    }

    fn unanswered(&self) -> (u64, Option<(u64, u64)>) {
        let directions = self.book.directions();
        (
            self.book.unanswered(),
            directions.map(|lost| (lost.out, lost.back)),
        )
    }
}

#[test]
fn loss_by_direction() {
    let mut run = Run::new(5);
    for (seq, received) in [(1, 1), (3, 2), (5, 4)] {
        run.echo(seq, received); // 2 was lost on the way out, 4 on the way back
    }
    assert_eq!(run.unanswered(), (2, Some((1, 1))));
    let mut run = Run::new(5);
    run.echo(1, 1);
    run.echo(2, 2);
    assert_eq!(
        run.unanswered(),
        (3, Some((0, 0))),
        "nobody knows where the last three were lost"
    );
    let mut run = Run::new(2);
    run.echo(2, 0);
    assert_eq!(run.unanswered(), (1, None), "the server does not count");
    assert_eq!(Run::new(3).unanswered(), (3, None));
}

#[test]
fn every_pattern_of_losses_is_told_by_direction() {
    // Of eight datagrams, each comes back, is lost on the way out, or on the way back.
    for pattern in 0..3u32.pow(8) {
        let fate = |seq: u32| pattern / 3u32.pow(seq - 1) % 3;
        let mut run = Run::new(8);
        let (mut received, mut newest) = (0, 0);
        for seq in 1..=8 {
            received += u32::from(fate(seq) != 1);
            if fate(seq) == 0 {
                run.echo(seq as usize, received);
                newest = seq;
            }
        }
        let lost = |way| (1..=newest).filter(|seq| fate(*seq) == way).count() as u64;
        let expected = (newest > 0).then(|| (lost(1), lost(2)));
        assert_eq!(run.unanswered().1, expected, "{pattern}");
    }
}

#[test]
fn duplicates_and_order() {
    let mut run = Run::new(4);
    assert!(!run.echo(1, 1).duplicate);
    assert!(run.echo(1, 2).duplicate); // doubled on the way out: the server counted it twice
    assert!(!run.echo(3, 4).reordered);
    assert!(run.echo(3, 4).duplicate); // doubled on the way back
    assert!(run.echo(2, 3).reordered); // overtaken
    run.echo(4, 5);
    let totals = run.book.totals();
    assert_eq!((totals.back, totals.duplicates, totals.reordered), (4, 2, 1));
    assert_eq!(run.unanswered(), (0, Some((0, 0))));
}

#[test]
fn what_overtakes_on_the_way_out_is_no_loss() {
    // The server gets 2 before 1; the echo of 1 is back first, and then 2 seems to be counted too low.
    let mut run = Run::new(3);
    run.echo(1, 2);
    run.echo(2, 1);
    assert_eq!(run.unanswered().1, Some((0, 0)));
    run.echo(3, 3);
    assert_eq!(run.unanswered(), (0, Some((0, 0))));
}

#[test]
fn a_server_that_begins_to_count_anew() {
    let mut run = Run::new(0);
    let each = |run: &mut Run, received: Option<u32>| {
        run.send();
        if let Some(received) = received {
            run.echo(run.packets.len() - 1, received);
        }
    };
    // 1 to 5 with the second lost on the way back; 6 and 7 while it restarts; 8 to 10 with the ninth lost on the way out.
    for received in [
        Some(1),
        None,
        Some(3),
        Some(4),
        Some(5),
        None,
        None,
        Some(1),
        None,
        Some(2),
    ] {
        each(&mut run, received);
    }
    assert_eq!(run.unanswered(), (4, Some((3, 1))));
    // It has no room to count us any more: nothing is known of 11 to 13. Then it has.
    for received in [None, None, Some(0), Some(1), None, Some(3)] {
        each(&mut run, received);
    }
    assert_eq!(run.unanswered(), (7, Some((3, 2))));
}

#[test]
fn what_is_overdue_is_lost_until_it_comes() {
    let patience = Duration::from_millis(25);
    let mut run = Run::new(3); // at 10, 20 and 30 ms
    assert_eq!(run.book.next_overdue(patience), Some(at(35).mono));
    assert_eq!(run.book.overdue(at(34).mono, patience), []);
    run.echo(2, 2);
    assert_eq!(run.book.overdue(at(50).mono, patience), [1]);
    assert_eq!(run.book.overdue(at(50).mono, patience), []);
    assert_eq!((run.book.lost(), run.book.unanswered()), (1, 2));
    let late = run.echo(1, 1);
    assert!(late.late && late.reordered && !late.duplicate, "{late:?}");
    assert_eq!((run.book.lost(), run.book.totals().late), (0, 1));
    assert_eq!(run.book.overdue(at(60).mono, patience), [3]);
    assert_eq!((run.book.lost(), run.book.next_overdue(patience)), (1, None));
}

#[test]
fn only_exact_echoes_count() {
    let mut run = Run::new(2);
    let good = run.packets[1].clone();
    let changed = |index: usize| {
        let mut bytes = good.clone();
        bytes[index] ^= 1;
        bytes
    };
    // Magic, cookie, sequence number, time, padding; longer; shorter; empty.
    let mut wrong: Vec<_> = [0, 8, 19, 31, 47].map(changed).to_vec();
    wrong[2][19] = 9;
    wrong.extend([[good.clone(), vec![0]].concat(), good[..47].to_vec(), Vec::new()]);
    for bytes in wrong {
        let mismatch = run.book.receive(&bytes, at(90)).unwrap_err();
        assert_eq!(
            mismatch.fault().reason().code.as_str(),
            "echo.mismatch",
            "{bytes:?}"
        );
        assert_eq!(mismatch == Mismatch::Changed, bytes.len() == 48);
    }
    assert_eq!(run.book.stamped(), None);
    run.book.receive(&good, at(90)).unwrap().unwrap();
    assert_eq!(
        (run.book.stamped(), run.unanswered()),
        (Some(false), (1, None)),
        "a plain echo server"
    );
}

#[test]
fn a_run_of_weeks_keeps_a_bounded_memory_and_its_numbers() {
    // Begun shortly before the sequence number outgrows its field in the datagram.
    let mut book = Book::new(7, 48);
    let begun = u64::from(u32::MAX) - 100_000;
    (book.sent, book.judged, book.highest) = (begun, begun, begun);
    book.totals.back = begun;
    let mut packet = vec![0; 48];
    for n in 0..200_000 {
        let now = at(n);
        book.write_next(now.mono, &mut packet);
        let seq = book.sent_at(now.mono);
        assert_eq!(book.overdue(now.mono, Duration::from_secs(5)).len(), 0);
        let mut bytes = packet.clone();
        answer(&mut bytes, Stamp { received: 0, at: 0 }).unwrap();
        let arrival = book.receive(&bytes, at(n + 1)).unwrap().unwrap();
        assert_eq!((arrival.seq, arrival.reordered), (seq, false));
    }
    assert_eq!((book.unanswered(), book.known.len()), (0, KNOWN));
    // An echo of long ago says nothing, and one of a datagram that was never sent is no echo.
    let mut bytes = vec![0; 48];
    let old = book.request(begun + 1, at(0).mono);
    old.write(&mut bytes).unwrap();
    assert_eq!(book.receive(&bytes, at(200_000)), Ok(None));
    let never = book.request(book.sent + 1, at(0).mono);
    never.write(&mut bytes).unwrap();
    assert_eq!(book.receive(&bytes, at(200_000)), Ok(None), "as one of long ago");
}

#[test]
fn what_is_answered_at_once_leaves_the_book_in_time() {
    let mut run = Run::new(1);
    run.echo(1, 1);
    run.ms += 600_000;
    run.send();
    assert_eq!(run.book.known.len(), 1);
    run.ms += 600_000;
    run.send();
    assert_eq!(
        run.book.known.len(),
        2,
        "what is not back is kept until it is given up"
    );
    assert_eq!(run.book.overdue(at(run.ms).mono, Duration::from_secs(5)), [2]);
    run.send();
    assert_eq!((run.book.known.len(), run.book.lost()), (2, 1));
}

proptest::proptest! {
    #[test]
    fn any_answers_are_survived(answers in proptest::collection::vec((1..=20usize, 0..40u32, -9i64..9), 0..200)) {
        let mut run = Run::new(20);
        for (seq, received, at_) in answers {
            let mut bytes = run.packets[seq].clone();
            answer(&mut bytes, Stamp { received, at: at_ * (i64::MAX / 9) }).unwrap();
            run.book.receive(&bytes, at(run.ms)).unwrap().unwrap();
            // A server that counts nonsense gets nonsense told, but never more than there was.
            let (out, back) = run.unanswered().1.unwrap_or_default();
            proptest::prop_assert!(out <= run.book.sent() && back <= run.book.sent());
        }
    }
}
