//! No text makes reading panic, however it is broken.

use super::Place;

/// xorshift64*, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

const GOOD: &str = r#"
[defaults]
interval = "30s"
timeout = "2s"
remind = ["10m", "1h"]
window = { of = 10, fail = 4, recover = 1 }
labels = { a = "ü", b = "${NUMBER}" }
icmp.retry = 3

[[monitor]]
name = "wéb"
targets = ["https://www.example.com/ä?x=1", "tcp://a:1?expect=x&timeout=1s"]
headers = { Accept = "x" }
family = "both"

[[monitor]]
name = "m"
hosts = ["10.0.0.0/30", "web[01-03]"]
target = "icmp://{host}"
loss = { window = 300, change = 5.5 }
timezone = "Europe/Berlin"

[[monitor]]
name = "home"
target = "heartbeat:home"
down_after = "3m"
key = ["${KEY}", "${OTHER_KEY}"]

[[monitor]]
name = "job"
target = "heartbeat:job"
cron = "30 2 * * *"
from = ["192.0.2.0/24", "2001:db8::1"]

[heartbeat]
listen = "127.0.0.1:7777"
adopt = true
grace = "1m"

[notify.ops]
type = "telegram"
token = "${TOKEN}"
chat_id = -100

[web]
listen = "127.0.0.1:8480"
[store]
path = """data"""
max_size = "10GB"
"#;

const PIECES: &[&str] = &[
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    "\n",
    "#",
    ".",
    ",",
    "$",
    "${",
    "${TOKEN}",
    "\\",
    "\\u",
    "\"\"\"",
    "é",
    "\u{0}",
    "\t",
    "[[monitor]]\n",
    "[notify.x]\n",
    "x = 1\n",
    "-1",
    "1e999",
    "99999999999999999999",
    "true",
    "{ file = \"x\" }",
    "@",
    "/",
    "[1-",
    "10.0.0.0/31",
    "2020-01-01",
    "\r",
    "[defaults]\n",
    "= ",
    "\u{feff}",
    "target = \"tcp://[::1%eth0]:1\"\n",
];

#[test]
fn no_mutation_panics() {
    let place = Place::new();
    let mut dice = Dice(0x1a9_7717);
    for round in 0..600 {
        let mut text = GOOD.to_owned();
        for _ in 0..=dice.roll(6) {
            let at = text.floor_char_boundary(dice.roll(text.len() + 1));
            let end = text.floor_char_boundary((at + dice.roll(12)).min(text.len()));
            match dice.roll(4) {
                0 => text.replace_range(at..end.max(at), ""),
                1 => text.insert_str(at, PIECES[dice.roll(PIECES.len())]),
                2 => text.replace_range(at..end.max(at), PIECES[dice.roll(PIECES.len())]),
                _ => text.truncate(at),
            }
            if text.is_empty() {
                break;
            }
        }
        match place.load(&text) {
            Ok(loaded) => {
                let asked = loaded.plan.series.iter().filter(|s| s.kind != "heartbeat");
                assert!(asked.count() == loaded.probers.len(), "{round}");
            }
            Err(report) => {
                let shown = report.render(round % 2 == 0);
                assert!(
                    !report.diagnostics().is_empty() && !shown.contains("canary-"),
                    "{text}\n{shown}"
                );
            }
        }
    }
}
