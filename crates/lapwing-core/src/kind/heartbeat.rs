//! The heartbeat as a kind: its words for help, documentation and schema. It is the one kind without a probe: nothing is
//! ever asked.

use super::{Address, CodeInfo, KindInfo, OptionInfo, OptionType};

/// Somebody reports in: a sensor by UDP, a job by HTTP.
pub static HEARTBEAT: KindInfo = KindInfo {
    name: "heartbeat",
    schemes: &["heartbeat"],
    summary: "passive: a sensor or a job reports in, and its silence is an outage",
    about: "Nothing is asked. A sensor sends datagrams to `[heartbeat] listen`, a job pings `[heartbeat] http` with curl. \
            A beat is due one `period` after the last one, or at the times of `cron`; an outage begins when it was due, \
            and is told when it is late by `grace`. With `down_after` the time counts from the last beat instead. With a \
            `key` nobody else can report in its name; without one the addresses in `from` are all that is known of the \
            sender, and anybody can forge them. A heartbeat stands alone in its monitor.",
    examples: &["heartbeat:home"],
    address: Address::Name,
    options: &[
        OptionInfo {
            name: "period",
            ty: OptionType::Duration,
            default: "30s",
            doc: "A beat is due so long after the last one; at least 100ms. As the sensor's own period.",
            example: "\"1m\"",
        },
        OptionInfo {
            name: "cron",
            ty: OptionType::Text,
            default: "",
            doc: "Instead of `period`: a beat is due at these times on the clocks of `timezone`. Five fields: minute, \
                  hour, day of the month, month, day of the week. Not in [defaults].",
            example: "\"30 2 * * *\"",
        },
        OptionInfo {
            name: "grace",
            ty: OptionType::Duration,
            default: "",
            doc: "How late a beat may be before that is an outage. Default: the period and 10s, so that one lost \
                  datagram is no alert, but at most 1h; with `cron` 10m.",
            example: "\"5m\"",
        },
        OptionInfo {
            name: "down_after",
            ty: OptionType::Duration,
            default: "",
            doc: "Instead of `grace`: an outage once the last beat is so long ago. Longer than the period; not with \
                  `cron`.",
            example: "\"3m\"",
        },
        OptionInfo {
            name: "from",
            ty: OptionType::List,
            default: "any",
            doc: "Without a key: the addresses or networks that the sender has, or \"any\". The longest network that \
                  holds a sender's address wins. Not in [defaults].",
            example: "[\"192.0.2.7\", \"2001:db8::/56\"]",
        },
        OptionInfo {
            name: "key",
            ty: OptionType::Secrets,
            default: "",
            doc: "The key that it proves itself with, or two while one replaces the other: 16 to 128 characters of \
                  `A-Z a-z 0-9 . _ ~ -`, as `lapwing sensor keygen` prints it. For pings it stands in the address: \
                  `/ping/KEY`. Not in [defaults].",
            example: "\"${HOME_KEY}\"",
        },
    ],
    facts: &[],
    codes: &[
        CodeInfo {
            code: "heartbeat.late",
            doc: "No beat came in time.",
        },
        CodeInfo {
            code: "heartbeat.failed",
            doc: "A job said that it failed (`/fail`).",
        },
        CodeInfo {
            code: "heartbeat.exit",
            doc: "A job ended with an exit status other than 0.",
        },
        CodeInfo {
            code: "heartbeat.unfinished",
            doc: "A job said that it began, and not in time that it ended.",
        },
        CodeInfo {
            code: "heartbeat.stopped",
            doc: "A sensor said that it stops, and was not heard again in time.",
        },
    ],
    privileges: None,
    overlaps: false,
    owns_query: false,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::HEARTBEAT;

    #[test]
    fn every_code_that_is_given_is_declared() {
        let source = include_str!("../heartbeat/judge.rs");
        let source = source.split("#[cfg(test)]").next().unwrap();
        let given: BTreeSet<_> = source
            .split("\"heartbeat.")
            .skip(1)
            .map(|rest| format!("heartbeat.{}", rest.split('"').next().unwrap()))
            .collect();
        let declared: BTreeSet<_> = HEARTBEAT.codes.iter().map(|c| c.code.to_owned()).collect();
        assert_eq!(given, declared);
    }
}
