//! A crate's own clippy.toml replaces the root's, so it must repeat it: otherwise a ban ends silently at its door.

use toml::{Table, Value};

use super::{Finding, Tree};

/// Every setting of the root that a crate's clippy.toml lacks or changes.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let root = match tree.text("clippy.toml").unwrap_or_default().parse::<Table>() {
        Ok(root) => root,
        Err(error) => return vec![Finding::new("clippy.toml", error.message())],
    };
    let own = tree
        .files()
        .filter(|file| file.path.starts_with("crates/") && file.path.ends_with("/clippy.toml"));
    own.flat_map(|file| match file.text().parse::<Table>() {
        Ok(table) => compare(&root, &table)
            .into_iter()
            .map(|text| Finding::new(&file.path, text))
            .collect(),
        Err(error) => vec![Finding::new(&file.path, error.message())],
    })
    .collect()
}

fn compare(root: &Table, own: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, wanted) in root {
        match (wanted, own.get(key)) {
            (_, None) => problems.push(format!("`{key}` of the root's clippy.toml is missing: repeat it")),
            (Value::Array(wanted), Some(Value::Array(found))) => {
                let missing = wanted.iter().filter(|entry| !found.contains(entry));
                problems.extend(missing.map(|entry| format!("`{key}` lacks the root's entry {entry}")));
            }
            (wanted, Some(found)) if wanted != found => {
                problems.push(format!(
                    "`{key}` is {found} here and {wanted} in the root's clippy.toml"
                ));
            }
            _ => {}
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (&str, &str) = (
        "clippy.toml",
        "limit = 70\nbans = [{ path = \"a\" }, { path = \"b\" }]\n",
    );

    fn own(text: &str) -> Vec<String> {
        let tree = Tree::of(&[ROOT, ("crates/lapwing-core/clippy.toml", text)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_repeated_and_longer_file_passes() {
        let text = "more = true\nlimit = 70\nbans = [{ path = \"c\" }, { path = \"b\" }, { path = \"a\" }]\n";
        assert_eq!(own(text), [""; 0]);
    }

    #[test]
    fn each_difference_is_named() {
        let path = "crates/lapwing-core/clippy.toml";
        assert_eq!(
            own("bans = [{ path = \"a\" }, { path = \"b\" }]\n"),
            [format!(
                "{path}: `limit` of the root's clippy.toml is missing: repeat it"
            )]
        );
        assert_eq!(
            own("limit = 71\nbans = [{ path = \"a\" }]\n"),
            [
                format!("{path}: `bans` lacks the root's entry {{ path = \"b\" }}"),
                format!("{path}: `limit` is 71 here and 70 in the root's clippy.toml"),
            ]
        );
        assert_eq!(own("limit = ").len(), 1, "not TOML");
    }
}
