//! The page docs/reference/reference-tools.md, made from crates/lapwing/tests/reference_tools/rows.toml: each behaviour
//! of the tools that Lapwing replaces, and the tests that show it.
//!
//! Never names a test that is not there, and leaves out no row and no test of those files.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

/// Where the tests of the tools stand, and the rows beside them.
const FOLDER: &str = "crates/lapwing/tests/reference_tools";
const ROWS: &str = "rows.toml";

/// The page below docs/reference.
pub(crate) const PAGE: &str = "reference-tools.md";

const HEAD: &str = "\
<!-- Made by `cargo xtask docs` from crates/lapwing/tests/reference_tools/rows.toml. Do not edit. -->
# The reference tools

Lapwing replaces five small tools. Every behaviour of theirs has its row: how Lapwing does it, and the tests that show
it on real sockets with the real program. Where a tool's times are long, the test shortens them or lets the program's
clock run faster. `cargo xtask docs --check` fails when a test that is named here does not exist.
";

/// A behaviour of a tool.
#[derive(Debug)]
struct Row {
    behaviour: String,
    lapwing: String,
    tests: Vec<Test>,
    /// The command that shows it at its full size.
    measured: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Test {
    /// From the workspace's folder.
    file: String,
    name: String,
}

#[derive(Debug)]
struct Tool {
    name: String,
    does: String,
    file: String,
    wanted: usize,
    rows: Vec<Row>,
}

/// The page; an error names every row and test that is missing.
pub(crate) fn page(root: &Path) -> Result<String> {
    let path = root.join(FOLDER).join(ROWS);
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let tools = parse(&text)?;
    let missing = missing(&tools, |file| fs::read_to_string(root.join(file)).ok());
    if missing.is_empty() {
        return Ok(render(&tools));
    }
    bail!("{FOLDER}/{ROWS}:\n  {}", missing.join("\n  "))
}

fn parse(text: &str) -> Result<Vec<Tool>> {
    let table: Table = text.parse().context("rows.toml is not TOML")?;
    list(&table, "tool")?.iter().map(tool).collect()
}

fn tool(value: &Value) -> Result<Tool> {
    let table = value.as_table().context("a tool is a table")?;
    let name = word(table, "name")?;
    let file = format!("{FOLDER}/{}", word(table, "file")?);
    let wanted = table.get("rows").and_then(Value::as_integer);
    let rows = list(table, "row")?.iter().map(|value| row(value, &file));
    Ok(Tool {
        does: word(table, "does")?,
        wanted: wanted
            .and_then(|rows| rows.try_into().ok())
            .with_context(|| format!("{name} says not how many rows it has"))?,
        rows: rows
            .collect::<Result<_>>()
            .with_context(|| format!("a row of {name}"))?,
        name,
        file,
    })
}

fn row(value: &Value, own: &str) -> Result<Row> {
    let table = value.as_table().context("a row is a table")?;
    let tests = list(table, "tests")?;
    let tests = tests.iter().map(|test| {
        let test = test.as_str().context("a test is a string")?;
        let (file, name) = test.rsplit_once("::").unwrap_or((own, test));
        Ok(Test {
            file: file.to_owned(),
            name: name.to_owned(),
        })
    });
    Ok(Row {
        behaviour: word(table, "behaviour")?,
        lapwing: word(table, "lapwing")?,
        tests: tests.collect::<Result<_>>()?,
        measured: table.get("measured").and_then(Value::as_str).map(str::to_owned),
    })
}

fn word(table: &Table, key: &str) -> Result<String> {
    let word = table.get(key).and_then(Value::as_str);
    word.map(str::to_owned)
        .with_context(|| format!("there is no `{key}`"))
}

fn list<'t>(table: &'t Table, key: &str) -> Result<&'t [Value]> {
    let list = table
        .get(key)
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty());
    list.map(Vec::as_slice)
        .with_context(|| format!("there is no `{key}`"))
}

/// What is missing: rows, tests that a row names, and rows for the tests of a tool's own file.
fn missing(tools: &[Tool], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut missing = Vec::new();
    let mut named = BTreeSet::new();
    for tool in tools {
        if tool.rows.len() != tool.wanted {
            missing.push(format!(
                "{} has {} rows, and not {}",
                tool.name,
                tool.rows.len(),
                tool.wanted
            ));
        }
        for test in tool.rows.iter().flat_map(|row| &row.tests) {
            named.insert((&*test.file, &*test.name));
        }
    }
    for (file, name) in &named {
        match read(file) {
            None => missing.push(format!("{file} cannot be read")),
            Some(text) if !tests(&text).contains(name) => {
                missing.push(format!("{file} has no test {name} that always runs"));
            }
            Some(_) => {}
        }
    }
    for tool in tools {
        let text = read(&tool.file).unwrap_or_default();
        let unnamed = tests(&text)
            .into_iter()
            .filter(|name| !named.contains(&(&*tool.file, *name)));
        missing.extend(unnamed.map(|name| format!("no row names {name} of {}", tool.file)));
    }
    missing
}

/// The names of the tests of a Rust file that always run: functions below a line `#[test]` or `#[tokio::test…]`, and
/// with no `#[ignore…]` or `#[cfg…]` beside it.
fn tests(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let (mut marked, mut left_out) = (false, false);
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            marked = true;
        } else if line.starts_with("#[ignore") || line.starts_with("#[cfg") {
            left_out = true;
        } else if let Some((_, rest)) = line.split_once("fn ")
            && let Some((name, _)) = rest.split_once('(')
            && std::mem::take(&mut marked)
        {
            if !std::mem::take(&mut left_out) {
                found.insert(name);
            }
        } else if !marked && !line.starts_with('#') && !line.starts_with("//") {
            // That attribute was for something else.
            left_out = false;
        }
    }
    found
}

fn render(tools: &[Tool]) -> String {
    let mut page = HEAD.to_owned();
    for tool in tools {
        let (name, does, file) = (&tool.name, &tool.does, &tool.file);
        page += &format!(
            "\n## {name}\n\n{does} Tests without a file stand in [{file}](../../{file}).\n\n\
             | behaviour | in Lapwing | shown by |\n|---|---|---|\n"
        );
        for row in &tool.rows {
            let mut shown: Vec<String> = row.tests.iter().map(|test| place(test, file)).collect();
            shown.extend(
                row.measured
                    .iter()
                    .map(|command| format!("at full size: `{command}`")),
            );
            let (behaviour, lapwing) = (&row.behaviour, &row.lapwing);
            page += &format!("| {behaviour} | {lapwing} | {} |\n", shown.join("<br>"));
        }
    }
    page
}

/// The test's name, after a link from docs/reference to its file when that is not the tool's own.
fn place(test: &Test, own: &str) -> String {
    let Test { file, name } = test;
    if file == own {
        return format!("`{name}`");
    }
    let from = file
        .match_indices('/')
        .rev()
        .nth(1)
        .map_or(0, |(slash, _)| slash + 1);
    format!("[{}](../../{file}) `{name}`", &file[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
[[tool]]
name = "R9 One"
does = "Little."
file = "r9.rs"
rows = 2

[[tool.row]]
behaviour = "It runs."
lapwing = "`run`"
tests = ["it_runs"]

[[tool.row]]
behaviour = "It ends."
lapwing = "`stop`"
tests = ["it_runs", "crates/a/tests/b.rs::it_ends"]
measured = "bench"
"#;
    const OWN: &str = "crates/lapwing/tests/reference_tools/r9.rs";

    fn read(own: &'static str) -> impl Fn(&str) -> Option<String> {
        move |file| match file {
            OWN => Some(own.to_owned()),
            "crates/a/tests/b.rs" => {
                Some("#[tokio::test(start_paused = true)]\nasync fn it_ends() {}\n".to_owned())
            }
            _ => None,
        }
    }

    #[test]
    fn a_row_becomes_a_line_with_its_tests() {
        let tools = parse(TWO).unwrap();
        assert_eq!(missing(&tools, read("#[test]\nfn it_runs() {}\n")), [""; 0]);
        let page = render(&tools);
        let last = page.lines().last().unwrap();
        assert_eq!(
            last,
            "| It ends. | `stop` | `it_runs`<br>[tests/b.rs](../../crates/a/tests/b.rs) `it_ends`<br>at full size: `bench` |"
        );
    }

    #[test]
    fn whatever_is_missing_is_named() {
        let one_row = TWO.replace("rows = 2", "rows = 3").replace("b.rs", "c.rs");
        let tools = parse(&one_row).unwrap();
        let own = "fn it_runs() {}\n#[test]\nfn it_walks() {}\n";
        assert_eq!(
            missing(&tools, read(own)),
            [
                "R9 One has 2 rows, and not 3".to_owned(),
                "crates/a/tests/c.rs cannot be read".to_owned(),
                format!("{OWN} has no test it_runs that always runs"),
                format!("no row names it_walks of {OWN}"),
            ]
        );
    }

    #[test]
    fn a_test_that_may_not_run_shows_nothing() {
        let kept = "#[cfg(test)]\nmod tests {\n#[test]\n#[expect(a, reason = \"b\")]\nfn it_runs() {}\n";
        assert_eq!(tests(kept), BTreeSet::from(["it_runs"]));
        for attribute in [
            "#[ignore]",
            "#[ignore = \"slow\"]",
            "#[cfg(target_os = \"linux\")]",
            "#[cfg_attr(a, ignore)]",
        ] {
            for lines in [["#[test]", attribute], [attribute, "#[test]"]] {
                let own = format!(
                    "{}\nfn it_runs() {{}}\n#[test]\nfn it_ends() {{}}\n",
                    lines.join("\n")
                );
                assert_eq!(tests(&own), BTreeSet::from(["it_ends"]), "{own}");
            }
        }
    }

    #[test]
    fn a_row_without_a_test_is_refused() {
        let none = TWO.replace("tests = [\"it_runs\"]", "tests = []");
        let error = format!("{:#}", parse(&none).unwrap_err());
        assert_eq!(error, "a row of R9 One: there is no `tests`");
    }
}
