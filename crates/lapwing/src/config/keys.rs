//! Every key of a configuration, as data: reading, defaults, `config schema`, the reference page and completion read
//! this one table. The options of probe kinds and notifiers stand with the kind or notifier, never here.

use lapwing_core::loss::LossPolicy;

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub ty: KeyType,
    /// As written in a configuration, or words for people; empty when there is none.
    pub default: &'static str,
    /// One or two sentences, with units.
    pub doc: &'static str,
    /// As written in a configuration.
    pub example: &'static str,
    /// May also stand in `[defaults]`.
    pub in_defaults: bool,
}

/// What the value of a key may be.
#[derive(Clone, Copy, Debug)]
pub enum KeyType {
    Text,
    Duration,
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    /// True or false.
    Flag,
    Choice(&'static [&'static str]),
    /// A list of texts, or one text.
    Texts,
    /// A list of lengths of time, or one.
    Durations,
    /// A table of names and texts.
    Labels,
    /// Address and port, or `off`.
    Listen,
    /// Bytes, with a unit.
    Size,
    Path,
    /// The name of a time zone.
    Zone,
    Table(&'static [Key]),
}

/// A table with a fixed name.
#[derive(Debug)]
pub struct TableInfo {
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

/// Most failures or successes in a row that a threshold may ask for.
pub const MAX_THRESHOLD: i64 = 1_000_000;
/// Largest `window.of`.
pub const MAX_WINDOW: i64 = 1000;
/// Largest limit of datagrams a second.
const MAX_RATE: i64 = 10_000_000;

const fn key(
    name: &'static str,
    ty: KeyType,
    default: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        ty,
        default,
        doc,
        example,
        in_defaults: false,
    }
}

const fn shared(
    name: &'static str,
    ty: KeyType,
    default: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        ty,
        default,
        doc,
        example,
        in_defaults: true,
    }
}

static WINDOW: &[Key] = &[
    key(
        "of",
        KeyType::Integer {
            min: 1,
            max: MAX_WINDOW,
        },
        "",
        "10",
        "How many of the last checks are looked at.",
    ),
    key(
        "fail",
        KeyType::Integer {
            min: 1,
            max: MAX_WINDOW,
        },
        "",
        "4",
        "Down when so many of them failed.",
    ),
    key(
        "recover",
        KeyType::Integer {
            min: 0,
            max: MAX_WINDOW,
        },
        "0",
        "1",
        "Up again when at most so many of them failed; less than `fail`.",
    ),
];

static LOSS: &[Key] = &[
    key(
        "window",
        KeyType::Integer {
            min: 1,
            max: LossPolicy::MAX_WINDOW as i64,
        },
        "",
        "300",
        "How many of the last requests are held.",
    ),
    key(
        "change",
        KeyType::Number { min: 0.0, max: 100.0 },
        "5",
        "5",
        "Tell when the loss has moved by more than so many percentage points since it was told last. All lost and \
         none lost are always told.",
    ),
    key(
        "min",
        KeyType::Integer {
            min: 1,
            max: LossPolicy::MAX_WINDOW as i64,
        },
        "1",
        "20",
        "Judge once so many requests are held.",
    ),
];

/// The keys of `[[monitor]]`, and of `[defaults]` where `in_defaults` says so.
pub static MONITOR: &[Key] = &[
    key(
        "name",
        KeyType::Text,
        "",
        "\"web\"",
        "What the monitor is called, at most 100 characters, without \"/\", and not beginning with \"-\". Required, and unique.",
    ),
    key(
        "target",
        KeyType::Text,
        "",
        "\"https://www.example.com/health\"",
        "What is probed, as a URL. A range or CIDR block may stand for the host where there is neither port nor path.",
    ),
    key(
        "targets",
        KeyType::Texts,
        "",
        "[\"http://www.example.com\", \"icmp://www.example.com\"]",
        "Several targets that share everything else.",
    ),
    key(
        "hosts",
        KeyType::Texts,
        "",
        "[\"10.0.0.0/24\", \"web[01-20].example.com\", \"@hosts.txt\"]",
        "Fills {host} in the target: names, addresses, ranges, CIDR blocks, and @files with one entry a line.",
    ),
    shared(
        "interval",
        KeyType::Duration,
        "\"30s\"",
        "\"1m\"",
        "Time between checks while up; at least 100ms.",
    ),
    shared(
        "timeout",
        KeyType::Duration,
        "\"2s\", and never more than the interval",
        "\"900ms\"",
        "One deadline for all that a check does, name resolution included. Not longer than the interval.",
    ),
    shared(
        "connect_timeout",
        KeyType::Duration,
        "the timeout",
        "\"200ms\"",
        "Limit of the connect alone; not longer than the timeout.",
    ),
    shared(
        "retry_interval",
        KeyType::Duration,
        "the interval",
        "\"5s\"",
        "Time between checks while failing, before it counts as down. Not longer than the interval.",
    ),
    shared(
        "recovery_interval",
        KeyType::Duration,
        "the retry_interval",
        "\"5s\"",
        "Time between checks while down. Not longer than the interval.",
    ),
    shared(
        "failure_threshold",
        KeyType::Integer {
            min: 0,
            max: MAX_THRESHOLD,
        },
        "3",
        "1",
        "So many failures in a row make an outage. 0 turns the rule off.",
    ),
    shared(
        "recovery_threshold",
        KeyType::Integer {
            min: 1,
            max: MAX_THRESHOLD,
        },
        "1",
        "2",
        "So many successes in a row end an outage.",
    ),
    shared(
        "window",
        KeyType::Table(WINDOW),
        "",
        "{ of = 10, fail = 4, recover = 1 }",
        "Instead of the thresholds: down when `fail` of the last `of` checks failed, up again when at most `recover` \
         of them did.",
    ),
    shared(
        "reset_failures",
        KeyType::Choice(&["never", "hourly"]),
        "\"never\"",
        "\"hourly\"",
        "`hourly` forgets failures below the threshold at each full hour of the time zone.",
    ),
    shared(
        "loss",
        KeyType::Table(LOSS),
        "",
        "{ window = 300, change = 5 }",
        "Tells packet loss over the last requests. Changes no state.",
    ),
    shared(
        "notify",
        KeyType::Texts,
        "every notifier",
        "[\"ops\"]",
        "Names of the notifiers that are told; an empty list for none.",
    ),
    shared(
        "remind",
        KeyType::Durations,
        "[]",
        "[\"10m\", \"30m\", \"1h\"]",
        "Times since an outage began at which it is told again, ascending.",
    ),
    shared(
        "family",
        KeyType::Choice(&["any", "4", "6", "both"]),
        "\"any\"",
        "\"both\"",
        "Address family. `both` watches each target over IPv4 and over IPv6, as two series.",
    ),
    shared(
        "addresses",
        KeyType::Choice(&["first", "all"]),
        "\"first\"",
        "\"all\"",
        "Which addresses of a name are asked. With `all` every one must pass.",
    ),
    shared(
        "source",
        KeyType::Text,
        "",
        "\"eth0\"",
        "Address or interface that packets are sent from.",
    ),
    shared(
        "labels",
        KeyType::Labels,
        "",
        "{ site = \"berlin\" }",
        "Names and texts that go with the monitor into events and metrics. Those of [defaults] are added.",
    ),
    shared(
        "timezone",
        KeyType::Zone,
        "the system's",
        "\"Europe/Berlin\"",
        "Time zone of the times in messages, of the full hours of `reset_failures` and of the times of `cron`.",
    ),
];

/// Keys of a monitor that every probe reads, so that they are also options: `-o timeout=1s`, `?timeout=1s`.
pub static PROBE_KEYS: &[&str] = &["timeout", "connect_timeout", "family", "addresses", "source"];

/// The tables with fixed names.
pub static TABLES: &[TableInfo] = &[
    TableInfo {
        name: "web",
        doc: "The status page and the API.",
        keys: &[key(
            "listen",
            KeyType::Listen,
            "\"127.0.0.1:8480\"",
            "\"127.0.0.1:8480\"",
            "Address and port to listen on, or \"off\". Port 0 takes a free one, which is logged.",
        )],
    },
    TableInfo {
        name: "store",
        doc: "Where states, outages and observations are kept.",
        keys: &[
            key(
                "path",
                KeyType::Path,
                "$STATE_DIRECTORY, else /var/lib/lapwing for a configuration in /etc/lapwing, else data/ beside the configuration file",
                "\"/var/lib/lapwing\"",
                "The data folder. A relative path starts at the configuration file.",
            ),
            key(
                "raw",
                KeyType::Duration,
                "\"30d\"",
                "\"90d\"",
                "How long single observations are kept; rollups stay.",
            ),
            key(
                "max_size",
                KeyType::Size,
                "\"10GB\"",
                "\"500MB\"",
                "Most space that observations take; the oldest go first. At least 10MB.",
            ),
        ],
    },
    TableInfo {
        name: "echo",
        doc: "The echo server inside the daemon, for udp-echo and tcp-echo targets of other machines.",
        keys: &[
            key(
                "listen",
                KeyType::Listen,
                "\"off\"",
                "\"0.0.0.0:7007\"",
                "Address and port to listen on, for UDP and TCP, or \"off\".",
            ),
            key(
                "per_source",
                KeyType::Integer {
                    min: 1,
                    max: MAX_RATE,
                },
                "2000",
                "500",
                "Most datagrams answered a second, to one IPv4 address or IPv6 /64.",
            ),
            key(
                "in_all",
                KeyType::Integer {
                    min: 1,
                    max: MAX_RATE,
                },
                "100000",
                "10000",
                "Most datagrams answered a second, to all together.",
            ),
            key(
                "plain",
                KeyType::Choice(&["guarded", "refused", "allowed"]),
                "\"guarded\"",
                "\"refused\"",
                "Datagrams without Lapwing's mark (RFC 862): `guarded` answers one a second to each source, after ten at \
                 once; `refused` none; `allowed` as many as marked ones, and both also to ports where servers listen \
                 that answer anything: for closed networks.",
            ),
        ],
    },
    TableInfo {
        name: "heartbeat",
        doc: "Where sensors and jobs report in, for monitors of the kind heartbeat.",
        keys: &[
            key(
                "listen",
                KeyType::Listen,
                "\"off\"",
                "\"0.0.0.0:7777\"",
                "Address and port for the datagrams of sensors (UDP), or \"off\".",
            ),
            key(
                "http",
                KeyType::Listen,
                "\"off\"",
                "\"0.0.0.0:7778\"",
                "Address and port for pings of jobs (`/ping/KEY`, TCP), or \"off\".",
            ),
            key(
                "adopt",
                KeyType::Flag,
                "false",
                "true",
                "Makes a monitor of each unknown sender of plain datagrams, named by its address, at most 1,000.",
            ),
            key(
                "period",
                KeyType::Duration,
                "that of a monitor",
                "\"1m\"",
                "Of adopted senders: a beat is due so long after the last one.",
            ),
            key(
                "grace",
                KeyType::Duration,
                "that of a monitor",
                "\"5m\"",
                "Of adopted senders: how late a beat may be before that is an outage.",
            ),
            key(
                "down_after",
                KeyType::Duration,
                "",
                "\"3m\"",
                "Of adopted senders, instead of `grace`: an outage once the last beat is so long ago.",
            ),
            key(
                "notify",
                KeyType::Texts,
                "that of [defaults], or every notifier",
                "[\"ops\"]",
                "Who is told of adopted senders.",
            ),
        ],
    },
    TableInfo {
        name: "log",
        doc: "What the daemon writes about itself to standard error.",
        keys: &[
            key(
                "level",
                KeyType::Choice(&["error", "warn", "info", "debug", "trace"]),
                "\"info\"",
                "\"debug\"",
                "`info` tells transitions, `debug` every check.",
            ),
            key(
                "format",
                KeyType::Choice(&["text", "json", "journald"]),
                "\"text\"",
                "\"json\"",
                "Lines for people, a JSON object a line, or fields for the systemd journal.",
            ),
        ],
    },
];

/// Tables of later versions.
pub static LATER_TABLES: &[&str] = &["self", "maintenance", "route"];
/// Keys of `[[monitor]]` and `[defaults]` of later versions.
pub static LATER_MONITOR: &[&str] = &["depends_on"];
/// Keys of `[notify.NAME]` of later versions.
pub static LATER_NOTIFY: &[&str] = &["fallback", "template", "templates", "locale"];

/// The key of a monitor with this name.
pub fn monitor(name: &str) -> Option<&'static Key> {
    MONITOR.iter().find(|key| key.name == name)
}

/// The table with this name.
pub fn table(name: &str) -> Option<&'static TableInfo> {
    TABLES.iter().find(|table| table.name == name)
}

/// Finds a key by name.
pub fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}
