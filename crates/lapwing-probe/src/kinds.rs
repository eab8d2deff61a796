//! The registry: every kind stands here with two lines, and nowhere else.

mod dns;
mod echo;
mod http;
mod icmp;
mod ntp;
mod tcp;
mod tls;
mod udp;

use crate::Kind;

/// All kinds, in the order in which help and documentation list them.
pub static KINDS: &[Kind] = &[
    Kind {
        info: &tcp::INFO,
        parse: tcp::parse,
    },
    Kind {
        info: &udp::INFO,
        parse: udp::parse,
    },
    Kind {
        info: &icmp::INFO,
        parse: icmp::parse,
    },
    Kind {
        info: &http::HTTP,
        parse: http::parse,
    },
    Kind {
        info: &http::HTTPS,
        parse: http::parse,
    },
    Kind {
        info: &tls::INFO,
        parse: tls::parse,
    },
    Kind {
        info: &dns::INFO,
        parse: dns::parse,
    },
    Kind {
        info: &ntp::INFO,
        parse: ntp::parse,
    },
    Kind {
        info: &echo::UDP,
        parse: echo::parse_udp,
    },
    Kind {
        info: &echo::TCP,
        parse: echo::parse_tcp,
    },
];

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use lapwing_core::{
        kind::{Options, SHARED_CODES},
        monitor::ProbeSettings,
        target::Target,
    };

    use super::KINDS;
    use crate::build;

    #[test]
    fn every_description_holds_together() {
        let infos: Vec<_> = KINDS.iter().map(|k| k.info).collect();
        let unique = |names: Vec<&str>| names.len() == names.iter().collect::<HashSet<_>>().len();
        assert!(unique(
            infos.iter().flat_map(|i| i.schemes.iter().copied()).collect()
        ));
        for info in &infos {
            let name = info.name;
            assert!(
                !info.summary.is_empty() && !info.about.is_empty() && !info.examples.is_empty(),
                "{name}"
            );
            assert!(
                unique(info.options.iter().map(|o| o.name).collect()),
                "{name}: options"
            );
            assert!(
                unique(info.facts.iter().map(|f| f.name).collect()),
                "{name}: facts"
            );
            assert!(
                unique(info.codes.iter().chain(SHARED_CODES).map(|c| c.code).collect()),
                "{name}: codes"
            );
            for option in info.options {
                assert!(
                    !option.doc.is_empty() && !option.example.is_empty(),
                    "{name}: {}",
                    option.name
                );
            }
            for example in info.examples {
                let target = Target::parse(example, &infos).unwrap_or_else(|e| panic!("{example}: {e}"));
                assert_eq!(target.kind.name, name, "{example}");
                let built = build(
                    KINDS,
                    &target,
                    &Options::default(),
                    Arc::new(ProbeSettings::default()),
                );
                assert!(built.is_ok(), "{example}: {:?}", built.err());
            }
        }
    }
}
