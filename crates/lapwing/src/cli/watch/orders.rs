//! What a command line of `watch` means: what is asked how often, how it is judged, who is told.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::Ipv6Addr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use lapwing_core::{
    event::EventKind,
    kind::{OptionError, OptionValue, Options, nearest},
    loss::LossPolicy,
    monitor::{DownRule, Monitor, NotifierPolicy, Plan, Policy, Series},
    target::Target,
    time::short,
};
use lapwing_notify::Built;
use lapwing_probe::Prober;

use super::WatchArgs;
use crate::{
    cli::{Failure, run},
    config::{self, Check, Environment},
};

/// The dated file of alerts, in the working directory.
const FILE: &str = "{date}_{host}_{KIND}.txt";
/// A round of Telegram's rule, which also is the time between two of them.
const ROUND: Duration = Duration::from_secs(2);
/// Further requests of a round, while none is answered.
const RETRY: &str = "?retry=3";
const REMIND: [Duration; 3] = [
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
];

/// Ready to be watched.
pub(super) struct Orders {
    pub(super) plan: Plan,
    pub(super) probers: Arc<HashMap<Arc<str>, Prober>>,
    pub(super) notifiers: BTreeMap<String, Arc<Built>>,
    pub(super) zone: TimeZone,
}

/// Reads everything, or says what is wrong.
pub(super) fn read(args: &WatchArgs, environment: &Environment) -> Result<Orders, Failure> {
    let urls = args.targets.iter().map(|text| url(text, args));
    let urls: Vec<String> = urls.collect::<Result<_, _>>().map_err(Failure::usage)?;
    let checks = config::checks(&urls, &args.option, args.timeout).map_err(Failure::usage)?;
    let mut told = Told::default();
    told.add_file(args)?;
    told.add_services(args, environment)?;
    told.add_configured(args, environment)?;
    let zone = TimeZone::system();
    let (series, probers) = series(checks, args, &told.names(), &zone)?;
    Ok(Orders {
        plan: Plan {
            series,
            notifiers: told.policies,
            zone: Some(zone.clone()),
            adopt: None,
        },
        probers: Arc::new(probers),
        notifiers: told.built,
        zone,
    })
}

impl Orders {
    /// What is watched, and where alerts go: one line.
    pub(super) fn heading(&self, args: &WatchArgs) -> String {
        let series = &self.plan.series;
        let what = match series.as_slice() {
            [one] => format!("{} every {}", one.target, short(one.monitor.policy.interval)),
            all => format!("{} targets", all.len()),
        };
        let file = if args.no_file {
            ""
        } else {
            "; alerts are appended to DATE_HOST_KIND.txt in this folder"
        };
        format!("watching {what}{file}; Ctrl-C ends it with a summary\n")
    }
}

/// The URL of what was given: a bare host is asked by ICMP, or by TCP at the given port.
fn url(text: &str, args: &WatchArgs) -> Result<String, String> {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let known = |scheme: &str| config::kinds().iter().any(|k| k.schemes.contains(&scheme));
    let round = args.telegram_chat.is_some();
    if text.contains("://") || scheme.is_some_and(known) {
        if args.port.is_some() {
            return Err(format!("-p is for hosts, but {text} is a target of its own"));
        }
        let icmp = scheme.is_some_and(|s| s == "icmp" || s == "ping") && !text.contains('?');
        return Ok(if round && icmp {
            format!("{text}{RETRY}")
        } else {
            text.to_owned()
        });
    }
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    let host = if address.parse::<Ipv6Addr>().is_ok() {
        format!("[{text}]")
    } else if let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
        return Err(format!(
            "\"{text}\" is no host; write tcp://{text}, or: lapwing watch {host} -p {port}"
        ));
    } else {
        text.to_owned()
    };
    Ok(match args.port {
        Some(port) => format!("tcp://{host}:{port}"),
        None if round => format!("icmp://{host}{RETRY}"),
        None => format!("icmp://{host}"),
    })
}

type Watched = (Vec<Arc<Series>>, HashMap<Arc<str>, Prober>);

/// A series for each target, named as shortly as can be.
fn series(
    checks: Vec<Check>,
    args: &WatchArgs,
    notify: &[Arc<str>],
    zone: &TimeZone,
) -> Result<Watched, Failure> {
    let kinds = config::kinds();
    let (mut all, mut seen) = (Vec::with_capacity(checks.len()), HashSet::new());
    for check in checks {
        if seen.insert(check.target.clone()) {
            let target = Target::parse(&check.target, &kinds).map_err(|e| Failure::usage(e.message))?;
            all.push((target, check.prober));
        }
    }
    let mut names: HashMap<String, usize> = HashMap::new();
    for (target, _) in &all {
        *names.entry(name(target)).or_default() += 1;
    }
    let (mut series, mut probers) = (Vec::with_capacity(all.len()), HashMap::new());
    for (target, prober) in all {
        let name = Some(name(&target)).filter(|name| !name.is_empty() && names.get(name) == Some(&1));
        let name = name.unwrap_or_else(|| target.url.clone());
        let key: Arc<str> = format!("{name}\u{1f}{}", target.url).into();
        probers.insert(Arc::clone(&key), prober);
        series.push(Arc::new(Series {
            key,
            monitor: Arc::new(Monitor {
                name: name.clone(),
                labels: Vec::new(),
                policy: policy(args, target.kind.name, zone),
                notify: notify.to_vec(),
            }),
            name,
            target: target.url.clone(),
            kind: target.kind.name,
            host: target.host_only(),
            loopback: target
                .host
                .as_ref()
                .is_some_and(lapwing_core::target::Host::is_loopback),
            overlaps: target.kind.overlaps,
        }));
    }
    Ok((series, probers))
}

fn name(target: &Target) -> String {
    match target.kind.name {
        "icmp" => target.host_only(),
        _ => target.host_port(),
    }
}

/// The rules of R2, R4 where Telegram is told, and what was given above both.
fn policy(args: &WatchArgs, kind: &str, zone: &TimeZone) -> Policy {
    let telegram = args.telegram_chat.is_some();
    let lossy = matches!(kind, "icmp" | "udp-echo");
    let (usual, failures) = match kind {
        "icmp" if telegram => (ROUND, 1),
        "icmp" => (Duration::from_secs(1), 0),
        "tcp" | "udp" | "tcp-echo" | "udp-echo" => (Duration::from_secs(1), 3),
        "ntp" => (Duration::from_secs(30), 3),
        _ => (Duration::from_secs(5), 3),
    };
    let interval = args.interval.unwrap_or(usual);
    let asked = args.size.is_some() || args.change.is_some();
    let loss = (asked || lossy && !telegram).then(|| LossPolicy {
        window: args.size.unwrap_or(300),
        change_milli: args.change.unwrap_or(5_000),
        min: 1,
    });
    Policy {
        interval,
        retry_interval: interval,
        recovery_interval: interval,
        rule: match args.ctimeout.unwrap_or(failures) {
            0 => DownRule::Off,
            failures => DownRule::Consecutive {
                failures,
                successes: 1,
            },
        },
        loss,
        remind: if telegram { REMIND.to_vec() } else { Vec::new() },
        zone: zone.clone(),
        ..Policy::default()
    }
}

/// Who is told.
#[derive(Default)]
struct Told {
    built: BTreeMap<String, Arc<Built>>,
    policies: Vec<NotifierPolicy>,
}

impl Told {
    fn names(&self) -> Vec<Arc<str>> {
        self.policies.iter().map(|p| Arc::clone(&p.name)).collect()
    }

    fn add_file(&mut self, args: &WatchArgs) -> Result<(), Failure> {
        if args.no_file {
            return Ok(());
        }
        self.add("--file", "file", &[("path", FILE)])
    }

    fn add_services(&mut self, args: &WatchArgs, environment: &Environment) -> Result<(), Failure> {
        let secret = |path: &Path| {
            let secret = config::secret_file(path, Path::new(""), environment);
            secret.map_err(Failure::usage)
        };
        if let Some(path) = &args.slack_webhook_file {
            let url = secret(path)?;
            self.add("--slack-webhook-file", "slack", &[("webhook_url", url.expose())])?;
        }
        if let (Some(path), Some(chat)) = (&args.telegram_token_file, &args.telegram_chat) {
            let token = secret(path)?;
            let mut options = vec![("token", token.expose()), ("chat_id", chat.as_str())];
            options.extend(args.telegram_api.as_deref().map(|api| ("api", api)));
            self.add("--telegram-chat", "telegram", &options)?;
            // That it is watched from now on is told here, unlike elsewhere.
            if let Some(policy) = self.policies.last_mut() {
                let wanted = EventKind::ALL.into_iter();
                policy.on = Some(
                    wanted
                        .filter(|k| k.is_news() || *k == EventKind::Monitoring)
                        .collect(),
                );
            }
        }
        Ok(())
    }

    /// One that the command line describes. `name` is the option that it stands for.
    fn add(&mut self, name: &str, kind: &str, options: &[(&str, &str)]) -> Result<(), Failure> {
        let given: Options = options
            .iter()
            .map(|(name, value)| (*name, OptionValue::Text((*value).to_owned())))
            .collect();
        let built = lapwing_notify::parse(kind, &given).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(|error| line(name, error)).collect();
            Failure::usage(lines.join("\n"))
        })?;
        self.policies.push(built.policy(name.into()));
        self.built.insert(name.to_owned(), Arc::new(built));
        Ok(())
    }

    fn add_configured(&mut self, args: &WatchArgs, environment: &Environment) -> Result<(), Failure> {
        if args.notify.is_empty() {
            return Ok(());
        }
        let path = config::locate(args.config.as_deref(), environment).map_err(Failure::usage)?;
        let loaded = run::load(&path, environment)?;
        for name in &args.notify {
            let policy = loaded.plan.notifiers.iter().find(|p| *p.name == **name);
            let (Some(policy), Some(built)) = (policy, loaded.notifiers.get(name)) else {
                let known = loaded.notifiers.keys().map(String::as_str);
                let hint = nearest(name, known)
                    .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
                let text = format!("{} has no notifier \"{name}\"{hint}", path.display());
                return Err(Failure::usage(text));
            };
            if self.built.insert(name.clone(), Arc::clone(built)).is_none() {
                self.policies.push(policy.clone());
            }
        }
        Ok(())
    }
}

fn line(name: &str, error: &OptionError) -> String {
    match &error.hint {
        Some(hint) => format!("{name}: {}; {hint}", error.message),
        None => format!("{name}: {}", error.message),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        watch: WatchArgs,
    }

    fn args(words: &[&str]) -> WatchArgs {
        let line = ["watch", "192.0.2.1"].iter().chain(words);
        Line::try_parse_from(line)
            .map_err(|e| e.to_string())
            .unwrap()
            .watch
    }

    const TELEGRAM: &[&str] = &["--telegram-token-file", "f", "--telegram-chat", "-5"];

    #[test]
    fn a_host_is_asked_as_the_options_say() {
        let urls = |words: &[&str]| {
            let args = args(words);
            ["web", "2001:db8::1", "10.0.0.0/24", "tcp://web:80", "icmp://web"].map(|text| url(text, &args))
        };
        let plain = [
            "icmp://web",
            "icmp://[2001:db8::1]",
            "icmp://10.0.0.0/24",
            "tcp://web:80",
            "icmp://web",
        ];
        assert_eq!(urls(&[]), plain.map(|url| Ok(url.to_owned())));
        let rounds = urls(TELEGRAM);
        assert_eq!(rounds[0], Ok("icmp://web?retry=3".to_owned()));
        assert_eq!(
            (&rounds[3], &rounds[4]),
            (
                &Ok("tcp://web:80".to_owned()),
                &Ok("icmp://web?retry=3".to_owned())
            )
        );
        let ports = urls(&["-p", "22"]);
        assert_eq!(ports[1], Ok("tcp://[2001:db8::1]:22".to_owned()));
        assert!(ports[3].is_err(), "it has its own port");
    }

    #[test]
    fn a_host_without_options_is_judged_by_its_loss() {
        let policy = policy(&args(&[]), "icmp", &TimeZone::UTC);
        assert_eq!(
            (policy.interval, policy.rule),
            (Duration::from_secs(1), DownRule::Off)
        );
        let loss = policy.loss.unwrap();
        assert_eq!((loss.window, loss.change_milli, loss.min), (300, 5_000, 1));
        assert!(policy.remind.is_empty());
    }

    #[test]
    fn a_port_is_down_after_three_failures() {
        let policy = policy(&args(&["-p", "22"]), "tcp", &TimeZone::UTC);
        let down = DownRule::Consecutive {
            failures: 3,
            successes: 1,
        };
        assert_eq!((policy.interval, policy.rule), (Duration::from_secs(1), down));
        assert_eq!(policy.loss, None);
    }

    #[test]
    fn telegram_is_told_of_the_first_unanswered_round_and_reminded() {
        let rule = |more: &[&str]| policy(&args(&[TELEGRAM, more].concat()), "icmp", &TimeZone::UTC);
        let policy = rule(&[]);
        let down = DownRule::Consecutive {
            failures: 1,
            successes: 1,
        };
        assert_eq!((policy.interval, policy.rule), (ROUND, down));
        assert_eq!(policy.remind, [600, 1_800, 3_600].map(Duration::from_secs));
        assert_eq!(policy.loss, None, "unless somebody asks for it");
        assert_eq!(rule(&["-s", "50"]).loss.unwrap().window, 50);
    }

    #[test]
    fn what_is_given_is_above_all_rules() {
        let words = ["-s", "10", "-c", "2.5", "-t", "0", "-i", "7s"];
        let policy = policy(&args(&words), "tcp", &TimeZone::UTC);
        assert_eq!(
            (policy.interval, policy.rule),
            (Duration::from_secs(7), DownRule::Off)
        );
        let loss = policy.loss.unwrap();
        assert_eq!((loss.window, loss.change_milli), (10, 2_500));
    }
}
