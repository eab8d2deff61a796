//! `lapwing help`: the help of a command, as `--help` behind it gives; and how help is laid out.

use clap::{Args, Command};

use super::{Failure, exit, man};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HelpArgs {
    /// Whose help is shown, such as `service install`; that of lapwing when none is named
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  lapwing help report
  lapwing help service install";

pub fn help(args: &HelpArgs) -> Result<u8, Failure> {
    let mut root = super::command();
    root.build();
    let mut command = &root;
    for name in &args.command {
        command = man::sub(command, name)?;
    }
    command.clone().print_long_help()?;
    Ok(exit::FINE)
}

/// With paragraphs that are broken where the terminal ends, and not where their lines end in the source.
pub fn flowing(command: Command) -> Command {
    let command = match command.get_after_help().map(ToString::to_string) {
        Some(text) => command.after_help(text.split("\n\n").map(flow).collect::<Vec<_>>().join("\n\n")),
        None => command,
    };
    command.mut_subcommands(flowing)
}

/// A paragraph as one line; a list with its lines as they are.
fn flow(paragraph: &str) -> String {
    if paragraph.contains("\n  ") {
        return paragraph.to_owned();
    }
    paragraph.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of the narrowest terminal in which no example is broken.
    const WIDTH: usize = 80;

    fn wide(command: &Command, found: &mut Vec<String>) {
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let lines = after
            .lines()
            .filter(|line| line.starts_with("  ") && line.chars().count() > WIDTH);
        found.extend(lines.map(ToOwned::to_owned));
        command.get_subcommands().for_each(|sub| wide(sub, found));
    }

    #[test]
    fn every_example_fits_into_a_terminal() {
        let mut found = Vec::new();
        wide(&crate::cli::command(), &mut found);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn prose_flows_and_examples_stand() {
        let command = Command::new("x").after_help("Examples:\n  a\n  b\n\nOne\ntwo.");
        let text = flowing(command).get_after_help().unwrap().to_string();
        assert_eq!(text, "Examples:\n  a\n  b\n\nOne two.");
    }
}
