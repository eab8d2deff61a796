//! The reference pages: kinds, options, notifiers, configuration keys, failure codes, commands, the API. Written from
//! the data that the program itself reads, so that they cannot disagree with it.

mod api;

use std::{fmt::Write as _, fs, path::Path};

use clap::CommandFactory;
use lapwing_core::kind::{CodeInfo, OptionInfo, OptionType, SHARED_CODES};
use lapwing_notify::NOTIFIERS;

use super::{Cli, Failure, exit};
use crate::config::{keys, kinds};

const MADE: &str = "<!-- Made by `cargo xtask docs` from the program itself. Do not edit. -->\n";

/// Writes every page into `folder`.
pub fn write(folder: &Path) -> Result<u8, Failure> {
    fs::create_dir_all(folder)?;
    for (name, text) in [
        ("kinds.md", kind_page()),
        ("notifiers.md", notifiers()),
        ("configuration.md", configuration()),
        ("failure-codes.md", codes()),
        ("commands.md", commands()),
        ("api.md", api::page()),
    ] {
        fs::write(folder.join(name), format!("{MADE}{text}"))?;
    }
    Ok(exit::FINE)
}

/// Collects a page. Writing to a string cannot fail.
struct Page(String);

impl Page {
    fn line(&mut self, text: impl std::fmt::Display) {
        let written = writeln!(self.0, "{text}");
        debug_assert!(written.is_ok());
    }

    fn options<'a>(&mut self, options: impl Iterator<Item = &'a OptionInfo>) {
        let mut any = false;
        for option in options {
            if !any {
                self.line("| option | value | default | meaning |\n|---|---|---|---|");
                any = true;
            }
            let default = if option.default.is_empty() {
                String::new()
            } else {
                format!("`{}`", option.default)
            };
            self.line(format!(
                "| `{}` | {} | {default} | {} {}|",
                option.name,
                cell(&type_of(option.ty)),
                cell(option.doc),
                if option.example.is_empty() {
                    String::new()
                } else {
                    format!("For example `{}`. ", cell(option.example))
                },
            ));
        }
        if !any {
            self.line("No options of its own.");
        }
        self.line("");
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn type_of(ty: OptionType) -> String {
    match ty {
        OptionType::Text => "text".to_owned(),
        OptionType::Flag => "true or false".to_owned(),
        OptionType::Integer => "whole number".to_owned(),
        OptionType::Number => "number".to_owned(),
        OptionType::Duration => "duration".to_owned(),
        OptionType::Choice(words) => words
            .iter()
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", "),
        OptionType::List => "list of texts".to_owned(),
        OptionType::Pairs => "table of texts".to_owned(),
        OptionType::Path | OptionType::Output => "path".to_owned(),
        OptionType::Secrets => "secrets: `${ENV}` or `{ file = \"path\" }`, or a list of them".to_owned(),
        OptionType::Secret => "secret: text, `${ENV}` or `{ file = \"path\" }`".to_owned(),
    }
}

fn kind_page() -> String {
    let mut page = Page("# Probe kinds\n\nWhat Lapwing can ask, with every option. Options are keys of a monitor, `-o key=value` of `lapwing check`, or query parameters of the target URL (not for http and https, whose URL belongs to the request).\n".to_owned());
    for info in kinds() {
        page.line(format!(
            "\n## {}\n\n{}. {}\n",
            info.name,
            info.summary.trim_end_matches('.'),
            info.about
        ));
        let examples: Vec<String> = info.examples.iter().map(|e| format!("    {e}")).collect();
        page.line(format!("{}\n", examples.join("\n")));
        if let Some(privileges) = info.privileges {
            page.line(format!("Needs: {privileges}\n"));
        }
        page.options(info.options.iter());
        if !info.facts.is_empty() {
            page.line("| fact | unit | meaning |\n|---|---|---|");
            for fact in info.facts {
                page.line(format!(
                    "| `{}` | {} | {} |",
                    fact.name,
                    fact.unit,
                    cell(fact.doc)
                ));
            }
            page.line("");
        }
        let own: Vec<String> = info.codes.iter().map(|c| format!("`{}`", c.code)).collect();
        if !own.is_empty() {
            page.line(format!(
                "Failure codes of its own: {}. See [failure codes](failure-codes.md).",
                own.join(", ")
            ));
        }
    }
    page.0
}

fn notifiers() -> String {
    let mut page = Page(
        "# Notifiers\n\nHow Lapwing tells people. Each is a table `[notify.NAME]` with its `type`.\n"
            .to_owned(),
    );
    for kind in NOTIFIERS {
        let info = kind.info;
        page.line(format!(
            "\n## {}\n\n{}. {}\n",
            info.name,
            info.summary.trim_end_matches('.'),
            info.about
        ));
        page.line(format!("```toml\n{}\n```\n", info.example.trim()));
        if !info.required.is_empty() {
            let required: Vec<String> = info.required.iter().map(|r| format!("`{r}`")).collect();
            page.line(format!("Must be given: {}.\n", required.join(", ")));
        }
        page.options(info.all_options());
    }
    page.line("\n## Why a message was not delivered\n");
    code_table(&mut page, lapwing_notify::CODES.iter());
    page.0
}

fn configuration() -> String {
    let mut page = Page("# Configuration keys\n\nOne TOML file, or a folder of them. `lapwing config init` writes a starter, `lapwing config check` finds every error, `lapwing config schema` gives a JSON Schema for editors.\n\n## [[monitor]] and [defaults]\n".to_owned());
    key_table(&mut page, keys::MONITOR);
    page.line("Further keys of a monitor are the options of its [kinds](kinds.md).");
    for table in keys::TABLES {
        page.line(format!("\n## [{}]\n\n{}\n", table.name, table.doc));
        key_table(&mut page, table.keys);
    }
    page.0
}

fn key_table(page: &mut Page, keys: &[keys::Key]) {
    page.line("| key | default | meaning | example |\n|---|---|---|---|");
    for key in keys {
        let code = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!("`{}`", cell(text))
            }
        };
        page.line(format!(
            "| `{}` | {} | {} | {} |",
            key.name,
            code(key.default),
            cell(key.doc),
            code(key.example)
        ));
    }
    page.line("");
}

fn codes() -> String {
    let mut page = Page("# Failure codes\n\nWhy a target did not pass, or could not be asked (`ours.*`, which reads as inconclusive and is never counted against a target). Codes are stable: new ones may come, none is renamed.\n\n## Shared\n".to_owned());
    code_table(&mut page, SHARED_CODES.iter());
    for info in kinds().into_iter().filter(|info| !info.codes.is_empty()) {
        page.line(format!("\n## {}\n", info.name));
        code_table(&mut page, info.codes.iter());
    }
    page.0
}

fn code_table<'a>(page: &mut Page, codes: impl Iterator<Item = &'a CodeInfo>) {
    page.line("| code | meaning |\n|---|---|");
    for code in codes {
        page.line(format!("| `{}` | {} |", code.code, cell(code.doc)));
    }
}

fn commands() -> String {
    let mut page = Page("# Commands\n".to_owned());
    let mut command = Cli::command();
    command.build();
    help(&mut page, &mut command, "lapwing");
    page.0
}

fn help(page: &mut Page, command: &mut clap::Command, path: &str) {
    let text = command.render_long_help().to_string();
    page.line(format!("\n## {path}\n\n```text\n{}\n```", text.trim_end()));
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|c| !c.is_hide_set())
        .map(|c| c.get_name().to_owned())
        .collect();
    for name in names.iter().filter(|n| *n != "help") {
        if let Some(sub) = command.find_subcommand_mut(name) {
            help(page, sub, &format!("{path} {name}"));
        }
    }
}
