//! `lapwing man`: the help as manual pages, in roff. What a page says is the help of its command, and nothing else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use lapwing_core::kind::nearest;

use super::{Failure, completions::visible, exit};
use crate::out;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// Whose page is printed, such as `service install`; that of lapwing when none is named
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages into a folder: lapwing.1, lapwing-run.1 and so on
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  lapwing man report | man -l -
  lapwing man --dir ~/.local/share/man/man1    then: man lapwing-report";

pub fn man(args: &ManArgs) -> Result<u8, Failure> {
    let root = visible();
    if let Some(folder) = &args.dir {
        fs::create_dir_all(folder)?;
        write_all(&root, folder)?;
        return Ok(exit::FINE);
    }
    let mut command = &root;
    for name in &args.command {
        command = sub(command, name)?;
    }
    out::print(&page(command)?)?;
    Ok(exit::FINE)
}

/// The command of this name below another one.
pub fn sub<'c>(command: &'c Command, name: &str) -> Result<&'c Command, Failure> {
    command
        .find_subcommand(name)
        .ok_or_else(|| unknown(command, name))
}

fn unknown(command: &Command, name: &str) -> Failure {
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let hint = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if names.is_empty() => "it has no commands".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    let whole = command.get_bin_name().unwrap_or("lapwing");
    Failure::usage(format!("{whole} has no command \"{name}\"; {hint}"))
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(format!("{}.1", title(command))), page(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|sub| write_all(sub, folder))
}

/// `lapwing-service-install`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or("lapwing")
}

fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    // Without a date: the version says it, and the same source gives the same page.
    let head = format!(
        ".TH {} 1 \"\" \"lapwing {}\" \"Lapwing\"\n",
        title(command),
        env!("CARGO_PKG_VERSION")
    );
    let mut text = head.into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_help() {
        after_help(&after.to_string()).to_writer(&mut text)?;
    }
    if title(command) != "lapwing" {
        let mut see = Roff::default();
        see.control("SH", ["SEE ALSO"]);
        see.text([roman("lapwing(1)")]);
        see.to_writer(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Paragraphs with a heading as sections, their lines as they are; what else is said as notes.
fn after_help(text: &str) -> Roff {
    let (mut roff, mut has_notes) = (Roff::default(), false);
    for paragraph in text.split("\n\n") {
        let lines = paragraph.trim_matches('\n');
        if let Some((heading, rest)) = lines.split_once('\n').filter(|(first, _)| first.ends_with(':')) {
            roff.control("SH", [heading.trim_end_matches(':').to_uppercase().as_str()]);
            roff.control("nf", []);
            for line in rest.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
            has_notes = false;
        } else {
            if has_notes {
                roff.control("PP", []);
            } else {
                roff.control("SH", ["NOTES"]);
            }
            has_notes = true;
            for line in lines.lines() {
                roff.text([roman(line.trim_start())]);
            }
        }
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(command: &Command, found: &mut Vec<Command>) {
        if command.has_subcommands() {
            command.get_subcommands().for_each(|sub| leaves(sub, found));
        } else {
            found.push(command.clone());
        }
    }

    #[test]
    fn every_command_has_an_example_in_its_help_and_on_its_page() {
        let mut all = Vec::new();
        leaves(&visible(), &mut all);
        assert!(all.len() > 20);
        let has_none = |command: &&Command| {
            let help = command.get_after_help().map(ToString::to_string);
            let name = command.get_bin_name().unwrap();
            !help.is_some_and(|help| help.contains("Example") && help.contains(name))
        };
        let without: Vec<&str> = all.iter().filter(has_none).map(title).collect();
        assert_eq!(without, [""; 0]);
        for command in &all {
            let page = page(command).unwrap();
            assert!(
                page.contains(".SH EXAMPLE") && page.contains(".SH \"SEE ALSO\""),
                "{page}"
            );
        }
    }

    #[test]
    fn examples_keep_their_lines_and_notes_do_not() {
        let text = after_help("Examples:\n  one\n    .two\n\nA note\nof two lines.\n\nAnother.").to_roff();
        assert!(
            text.contains(
                ".SH EXAMPLES\n.nf\none\n  .two\n.fi\n.SH NOTES\nA note\nof two lines.\n.PP\nAnother."
            ),
            "{text}"
        );
    }
}
