//! Rust source, read just well enough to judge it: what is code, and what is test code.
//!
//! Never tries to understand more; clippy does that.

/// The source with comments, strings and characters blanked, line for line, so that a rule sees only code.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = blank_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Numbered lines (from 1) of `source` outside items marked `#[cfg(test)]` or `#[cfg(any(test, …))]`.
/// Relies on rustfmt: such an item begins and ends in the first column.
pub(crate) fn without_tests(source: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut in_test = false;
    let mut opened = false;
    for (number, line) in (1..).zip(source.lines()) {
        if !in_test
            && line.starts_with("#[cfg(")
            && line.split(|c: char| !is_word(c)).any(|word| word == "test")
        {
            in_test = true;
            opened = false;
            continue;
        }
        if !in_test {
            kept.push((number, line));
            continue;
        }
        let ends = if opened {
            line.starts_with('}')
        } else {
            ends_unopened(line)
        };
        opened |= line.contains('{');
        in_test = !ends;
    }
    kept
}

/// Whether an item whose braces are not open ends on this line: `mod tests;`, `fn f() {}`.
fn ends_unopened(line: &str) -> bool {
    let line = line.trim_end();
    let one_line_braces = line.contains('{') && line.matches('{').count() == line.matches('}').count();
    !line.starts_with("#[") && (line.ends_with(';') || one_line_braces)
}

/// The position after the comment or literal that begins at `at`, or `at` when none does.
fn blank_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => position(chars, at, |c| c == '\n'),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => quoted_end(chars, at, '"'),
        'r' => raw_string_end(chars, at),
        // A character, and not a lifetime.
        '\'' if next == Some('\\') || chars.get(at + 2) == Some(&'\'') => quoted_end(chars, at, '\''),
        _ => at,
    }
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let begin = position(chars, at + 1, |c| c != '#');
    if chars.get(begin) != Some(&'"') {
        return at;
    }
    let hashes = begin - at - 1;
    let mut end = begin + 1;
    while end < chars.len() {
        let closed =
            chars[end] == '"' && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closed {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}

/// Block comments nest.
fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut end = at;
    while end + 1 < chars.len() {
        match (chars[end], chars[end + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                end += 1;
                continue;
            }
        }
        end += 2;
        if depth == 0 {
            return end;
        }
    }
    chars.len()
}

fn position(chars: &[char], from: usize, found: impl Fn(char) -> bool) -> usize {
    chars[from..]
        .iter()
        .position(|c| found(*c))
        .map_or(chars.len(), |offset| from + offset)
}

/// Whether `c` can stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `line` as a whole word.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_keeps_code_and_blanks_the_rest() {
        for (source, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("a(\"b // \\\" c\") d", "a(           ) d"),
            ("r#\"a \" b\"# c", "           c"),
            ("r#type", "r#type"),
            ("'x' '\\'' '\"' &'a str", "             &'a str"),
            ("<'a, 'b>", "<'a, 'b>"),
            ("\"open", "     "),
            ("/* open", "       "),
            ("r\"open", "      "),
            ("a\n/* b\n c */\nd", "a\n    \n     \nd"),
        ] {
            let found = code(source);
            assert_eq!(found, expected, "{source:?}");
            assert_eq!(
                found.matches('\n').count(),
                source.matches('\n').count(),
                "{source:?}"
            );
        }
    }

    #[test]
    fn tests_are_left_out_wherever_they_stand() {
        let source = "\
a
#[cfg(test)]
mod tests;
b
#[cfg(any(test, feature = \"testkit\"))]
#[derive(Debug)]
pub struct Fake {
    x: u8,
}
c
#[cfg(test)]
fn f() {}
d
#[cfg(feature = \"latest\")]
e
#[cfg(test)]
mod tests {
    fn f() {
    }
}
g";
        let kept: Vec<_> = without_tests(source).into_iter().map(|(_, line)| line).collect();
        assert_eq!(
            kept,
            ["a", "b", "c", "d", "#[cfg(feature = \"latest\")]", "e", "g"]
        );
        assert_eq!(without_tests(source)[1].0, 4, "lines keep their numbers");
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("mod tcp;", "tcp"));
        assert!(!has_word("mod tcp_echo;", "tcp"));
        assert!(!has_word("mod xtcp;", "tcp"));
        assert!(has_word("udp_echo, udp", "udp"));
    }
}
