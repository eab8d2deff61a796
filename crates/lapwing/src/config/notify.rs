//! `[notify.NAME]`: reads the tables and builds the notifiers, with what the outbox must know about each.

use std::{collections::BTreeMap, sync::Arc};

use lapwing_core::{
    kind::{OptionInfo, Options, nearest},
    monitor::NotifierPolicy,
};
use lapwing_notify::{Built, NOTIFIERS, NotifierInfo, parse};
use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::Place,
    keys,
    value::{GivenOption, Node, Reading, nodes},
};

/// A `[notify.NAME]` as written.
#[derive(Debug)]
pub(super) struct NotifierText {
    pub(super) name: Arc<str>,
    pub(super) info: &'static NotifierInfo,
    pub(super) options: Vec<GivenOption>,
    /// Options whose values could not be read, which is told already.
    unread: Vec<String>,
    pub(super) at: Place,
}

/// Reads one table; None when its type is not known.
pub(super) fn read(reading: &mut Reading<'_>, node: Node<'_>) -> Option<NotifierText> {
    let DeValue::Table(table) = node.value else {
        reading.mask(node);
        let hint = format!("write [notify.{}] above its keys", node.key);
        reading.error(node.key_at, format!("notify.{} is not a table", node.key), hint);
        return None;
    };
    let named = !node.key.trim().is_empty()
        && node.key.chars().count() <= 100
        && !node.key.chars().any(|c| c.is_control() || c == '/');
    if !named {
        reading.error(
            node.key_at,
            "the name of a notifier has 1 to 100 characters, without \"/\"",
            None,
        );
    }
    let kind = kind(reading, node, table);
    let Some(info) = kind else {
        // Nothing is known about its keys, so none is shown.
        nodes(node.at.file, table)
            .filter(|entry| entry.key != "type")
            .for_each(|entry| reading.mask(entry));
        return None;
    };
    let (mut options, mut unread) = (Vec::new(), Vec::new());
    for entry in nodes(node.at.file, table).filter(|entry| entry.key != "type") {
        match option(reading, entry, info) {
            Some(option) => options.push(option),
            None => unread.push(entry.key.to_owned()),
        }
    }
    Some(NotifierText {
        name: node.key.into(),
        info,
        options,
        unread,
        at: node.key_at,
    })
}

fn option(reading: &mut Reading<'_>, entry: Node<'_>, info: &'static NotifierInfo) -> Option<GivenOption> {
    let declared: Option<&OptionInfo> = info.all_options().find(|o| o.name == entry.key);
    if declared.is_none() && keys::LATER_NOTIFY.contains(&entry.key) {
        reading.later(entry.key_at, &format!("\"{}\"", entry.key));
        return None;
    }
    reading.option(entry, declared.map(|o| o.ty))
}

fn kind(reading: &mut Reading<'_>, node: Node<'_>, table: &DeTable<'_>) -> Option<&'static NotifierInfo> {
    let names = || NOTIFIERS.iter().map(|k| k.info.name);
    let listed = || format!("it is one of: {}", names().collect::<Vec<_>>().join(", "));
    let Some(given) = nodes(node.at.file, table).find(|n| n.key == "type") else {
        reading.error(node.key_at, format!("notify.{} has no type", node.key), listed());
        return None;
    };
    let DeValue::String(word) = given.value else {
        reading.error(given.at, "type is not a text in quotes", listed());
        return None;
    };
    let found = NOTIFIERS
        .iter()
        .find(|k| k.info.name == word.as_ref())
        .map(|k| k.info);
    if found.is_none() {
        let hint = nearest(word, names()).map_or_else(listed, |near| format!("did you mean \"{near}\"?"));
        reading.error(given.at, format!("there is no notifier of type \"{word}\""), hint);
    }
    found
}

/// Builds all notifiers; errors go into `reading`.
pub(super) fn build(
    reading: &mut Reading<'_>,
    texts: &[NotifierText],
) -> (BTreeMap<String, Arc<Built>>, Vec<NotifierPolicy>) {
    let (mut built, mut policies) = (BTreeMap::new(), Vec::new());
    for text in texts {
        let options: Options = text
            .options
            .iter()
            .map(|o| (o.name.as_str(), o.value.clone()))
            .collect();
        match parse(text.info.name, &options) {
            Ok(notifier) => {
                policies.push(policy(text, &notifier));
                built.insert(text.name.to_string(), Arc::new(notifier));
            }
            Err(errors) => {
                for error in errors.into_iter().filter(|e| !text.unread.contains(&e.option)) {
                    let given = text.options.iter().find(|o| o.name == error.option);
                    let known = text.info.all_options().any(|o| o.name == error.option);
                    let place = given.map_or(text.at, |given| if known { given.at } else { given.key_at });
                    reading.error(place, error.message, error.hint);
                }
            }
        }
    }
    (built, policies)
}

fn policy(text: &NotifierText, built: &Built) -> NotifierPolicy {
    NotifierPolicy {
        name: Arc::clone(&text.name),
        on: built.common.on.clone(),
        rate_limit: built.common.rate_limit,
        give_up: built.common.give_up,
        local: built.notifier.is_local(),
    }
}

/// The notifiers that write to files, and the paths.
pub(super) fn files(texts: &[NotifierText]) -> Vec<(String, String)> {
    let files = texts.iter().filter(|text| text.info.name == "file");
    let path = |text: &NotifierText| {
        text.options
            .iter()
            .find(|o| o.name == "path" && !o.hidden)
            .map(|o| o.value.to_string())
    };
    files
        .filter_map(|text| Some((text.name.to_string(), path(text)?)))
        .collect()
}
