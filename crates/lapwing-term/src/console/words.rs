//! A line in words, as a shell reads it, and the other way round: a name as one word of a line.
//!
//! Only blanks, quotes and the backslash mean something; nothing is expanded.

/// A word and where it stands in the line, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub start: usize,
    pub end: usize,
}

/// A line that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    pub words: Vec<Word>,
    /// The quote that is not closed, or the backslash at the very end.
    pub open: Option<char>,
}

/// Reads a line. A word whose quote is not closed ends with the line.
pub fn split(line: &str) -> Words {
    let mut found = Words::default();
    let mut word: Option<Word> = None;
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        if found.open.is_none() && character.is_whitespace() {
            found.words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word {
            text: String::new(),
            start: at,
            end: at,
        });
        match (character, found.open) {
            ('\'' | '"', None) => found.open = Some(character),
            (quote, Some(open)) if quote == open => found.open = None,
            ('\\', None | Some('"')) => match characters.clone().next() {
                None => found.open = found.open.or(Some('\\')),
                // Between double quotes it only takes the meaning of what would have one.
                Some((_, next)) if found.open.is_some() && !matches!(next, '"' | '\\') => {
                    word.text.push('\\');
                }
                Some((_, next)) => {
                    characters.next();
                    word.text.push(next);
                }
            },
            _ => word.text.push(character),
        }
        word.end = characters.offset();
    }
    found.words.extend(word);
    found
}

/// Where the word ends that `cursor`, a byte of `text` at a border of characters, stands inside; else the cursor. So too
/// in a quote that is not closed: nobody knows what it will hold.
pub fn word_end(text: &str, cursor: usize) -> usize {
    let start = text[..cursor].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].split('\n').next().unwrap_or_default();
    let read = split(line);
    let mut around = read
        .words
        .iter()
        .filter(|w| (w.start + 1..w.end).contains(&(cursor - start)));
    match around.next() {
        Some(word) if read.open.is_none() || word.end < line.len() => start + word.end,
        _ => cursor,
    }
}

/// `text` as one word of a line.
pub fn quoted(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '\\');
    if !text.is_empty() && !text.contains(special) {
        return text.to_owned();
    }
    if !text.contains('\'') {
        return format!("'{text}'");
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        for (line, words) in [
            ("", &[] as &[&str]),
            ("  ", &[]),
            ("pause web", &["pause", "web"]),
            ("  pause\tweb ", &["pause", "web"]),
            ("pause 'my server'", &["pause", "my server"]),
            ("pause \"my server\"", &["pause", "my server"]),
            ("pause my\\ server", &["pause", "my server"]),
            ("x 'a\\b' \"a\\b\" \"a\\\"b\"", &["x", "a\\b", "a\\b", "a\"b"]),
            ("a'b'c\"d\"", &["abcd"]),
            ("x ''", &["x", ""]),
            ("x $HOME *.txt #1", &["x", "$HOME", "*.txt", "#1"]),
            ("x 'open wo", &["x", "open wo"]),
            ("x \\", &["x", ""]),
            ("東京 żółw", &["東京", "żółw"]),
        ] {
            assert_eq!(texts(line), words, "{line:?}");
        }
        assert_eq!(split("x 'a").open, Some('\''));
        assert_eq!(split("x \"a\\").open, Some('"'));
        assert_eq!(split("x \\").open, Some('\\'));
        assert_eq!(split("x 'a'").open, None);
    }

    #[test]
    fn words_know_where_they_stand() {
        let words = split("ü 'a b' c").words;
        let places: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(places, [(0, 2), (3, 8), (9, 10)]);
    }

    #[test]
    fn a_word_ends_behind_the_cursor() {
        // The cursor stands at the first bar; the word ends at the other one.
        for marked in [
            "pause a|aa| --for 1h",
            "pause 'a |b'| c",
            "pause aa|| b",
            "pause ||aa",
            "pause || aa",
            "pause 'a|| b --for",
            "pause a|a| 'b c",
            "list\npause ż|ó|\nlist x",
            "||",
        ] {
            let text = marked.replace('|', "");
            let (cursor, end) = (marked.find('|').unwrap(), marked.rfind('|').unwrap() - 1);
            assert_eq!(word_end(&text, cursor), end, "{marked}");
        }
    }

    #[test]
    fn any_name_comes_back_as_it_was() {
        for name in [
            "web",
            "my server",
            "it's",
            "say \"hi\"",
            "both ' and \"",
            "back\\slash",
            "back\\slash'",
            "",
            "東京 1",
            "web/https",
        ] {
            assert_eq!(texts(&quoted(name)), [name], "{}", quoted(name));
        }
        assert_eq!(quoted("tcp://h:1?a=b&c=[::1]"), "tcp://h:1?a=b&c=[::1]");
    }
}
