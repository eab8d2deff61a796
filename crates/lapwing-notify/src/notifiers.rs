//! The registry: every notifier stands here with two lines, and nowhere else.

mod command;
mod email;
mod file;
mod slack;
pub mod telegram;
mod webhook;

use std::time::Duration;

use lapwing_core::kind::{OptionError, OptionReader, OptionValue, Options, nearest};

use crate::{Built, DEADLINE, NotifierKind, options};

/// All notifiers, in the order in which help and documentation list them.
pub static NOTIFIERS: &[NotifierKind] = &[
    slack::KIND,
    telegram::KIND,
    email::KIND,
    file::KIND,
    webhook::KIND,
    command::KIND,
];

/// Builds the notifier of the type `name`, or gives every error of its options at once. Values of secret options are
/// the secrets themselves: `${NAME}` and files are read before.
pub fn parse(name: &str, given: &Options) -> Result<Built, Vec<OptionError>> {
    parse_within(name, given, DEADLINE)
}

/// As [`parse`], with another limit for each try.
pub(crate) fn parse_within(
    name: &str,
    given: &Options,
    deadline: Duration,
) -> Result<Built, Vec<OptionError>> {
    let kind = kind(name)?;
    let info = kind.info;
    let mut reader = OptionReader::of(info.name, [info.options, info.shared], given);
    for option in info.all_options().filter(|o| info.required.contains(&o.name)) {
        let empty = match given.get(option.name) {
            None => Some("is missing"),
            Some(OptionValue::Text(text)) if text.trim().is_empty() => Some("is empty"),
            Some(OptionValue::List(items)) if items.is_empty() => Some("is empty"),
            Some(_) => None,
        };
        if let Some(problem) = empty {
            let error = OptionError::new(
                option.name,
                format!("{} needs {}, which {problem}", info.name, option.name),
            );
            reader.error(error.hint(format!("for example: {} = {}", option.name, option.example)));
        }
    }
    let mut common = options::read(&mut reader, info.shared);
    common.dial.deadline = deadline;
    let notifier = (kind.build)(&mut reader, &common.dial);
    reader.finish()?;
    let notifier = notifier.ok_or_else(|| {
        vec![OptionError::new(
            "",
            format!("{name} cannot be built from these options"),
        )]
    })?;
    Ok(Built {
        info,
        notifier,
        common,
    })
}

fn kind(name: &str) -> Result<&'static NotifierKind, Vec<OptionError>> {
    NOTIFIERS.iter().find(|k| k.info.name == name).ok_or_else(|| {
        let names = || NOTIFIERS.iter().map(|k| k.info.name);
        let error = OptionError::new("type", format!("there is no notifier of type \"{name}\""));
        vec![match nearest(name, names()) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error.hint(format!(
                "it is one of: {}",
                names().collect::<Vec<_>>().join(", ")
            )),
        }]
    })
}

#[cfg(test)]
#[path = "notifiers/shared_tests.rs"]
mod tests;
