//! What is taken from a paste, and which lines must not be remembered.
//!
//! Nothing that comes from a clipboard may steer the terminal or be run before somebody has seen it.

use std::iter::Peekable;

/// A paste without anything that a terminal would obey: escape sequences and invisible characters are left out, tabs
/// become spaces, ends of lines are `\n`, and there is none at either end.
pub fn cleaned(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_sequence(&mut characters),
            // An empty line means nothing, and some terminals paste one end of a line as two.
            '\r' | '\n' if clean.ends_with('\n') => {}
            '\r' | '\n' => clean.push('\n'),
            '\t' | '\u{a0}' => clean.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => clean.push(c),
        }
    }
    clean.trim_matches('\n').to_owned()
}

/// What follows an escape character (ECMA-48, sections 5.3 and 5.4).
fn skip_sequence(characters: &mut Peekable<impl Iterator<Item = char>>) {
    match characters.next() {
        Some('[') => {
            while characters
                .next_if(|c| ('\u{20}'..='\u{3f}').contains(c))
                .is_some()
            {}
            characters.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        // A string of the system: up to a bell, or to the escape of its end.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(character) = characters.next_if(|c| *c != '\n') {
                if character == '\u{7}' {
                    break;
                }
                if character == '\u{1b}' {
                    characters.next_if(|c| *c == '\\');
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Characters that hide, or change the order of what is seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Names whose values are nobody else's business, besides those that `names` adds.
const SECRET: [&str; 16] = [
    "key",
    "keys",
    "token",
    "password",
    "passwd",
    "secret",
    "auth",
    "authorization",
    "bearer",
    "webhook_url",
    "cookie",
    "cookies",
    "session",
    "session_id",
    "sessionid",
    "sid",
];

/// Whether a line seems to hold a secret: the value of an option that takes one, or a password in a URL.
pub fn holds_secret(line: &str, names: &[String]) -> bool {
    let line = line.to_lowercase();
    let is_secret = |name: &str| {
        let name = name.rsplit('.').next().unwrap_or(name);
        // `api_key`, `x-token`, `client-secret` too.
        let last = name.rsplit(['_', '-']).next().unwrap_or(name);
        SECRET.contains(&last) || SECRET.contains(&name) || names.iter().any(|known| known == name)
    };
    let named = line.match_indices(['=', ':']).any(|(at, mark)| {
        let before = line[..at].trim_end_matches([' ', '\'', '"', '\\']);
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let name = &before[before.trim_end_matches(is_part).len()..];
        // `auth://` is no value.
        !(mark == ":" && line[at..].starts_with("://"))
            && (is_secret(name.trim_start_matches('-')) || short(name).is_some_and(is_secret))
    });
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = words.windows(2).any(|pair| {
        let flag = pair[0].strip_prefix("--");
        pair[0] == "bearer" || pair[0] == "basic" || flag.is_some_and(is_secret)
    });
    named || after || has_password(&line)
}

/// What stands right behind a flag of one letter: `-okey`.
fn short(word: &str) -> Option<&str> {
    let mut letters = word.strip_prefix('-')?.chars();
    letters.next().filter(char::is_ascii_alphabetic)?;
    Some(letters.as_str())
}

/// `scheme://user:password@host`
fn has_password(line: &str) -> bool {
    line.match_indices("://").any(|(at, mark)| {
        let rest = &line[at + mark.len()..];
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.contains(':')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_cannot_steer_the_terminal() {
        for (pasted, clean) in [
            ("pause web", "pause web"),
            ("pause web\n", "pause web"),
            ("pause web\r\nresume web\r\n", "pause web\nresume web"),
            ("a\rb\r\rc\n\nd", "a\nb\nc\nd"),
            ("a\tb\u{a0}c", "a b c"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[201~rm\n", "rm"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]0;title\u{1b}\\x", "x"),
            ("\u{1b}]0;open\npause", "pause"),
            ("\u{1b}cx\u{1b}", "x"),
            ("\u{3}\u{4}\u{0}\u{7f}\u{9b}x", "x"),
            ("we\u{202e}b\u{200b}", "web"),
            ("żółw 東京", "żółw 東京"),
        ] {
            assert_eq!(cleaned(pasted), clean, "{pasted:?}");
        }
    }

    #[test]
    fn lines_with_secrets_are_known() {
        let names = ["psk".to_owned()];
        for line in [
            "add home heartbeat:home -o key=abc",
            "add home heartbeat:home --key abc",
            "add a https://u:p@example.com/",
            "add a https://example.com/?api_key=abc",
            "add a https://example.com -o 'headers=Authorization: Bearer abc'",
            "add a https://example.com -o http.auth=u:p",
            "add a x://y -o psk=1",
            "check https://example.com -o TOKEN=abc",
            "add home heartbeat:home -okey=abc",
            "add home heartbeat:home '-oKey'=abc",
            "check https://example.com -ohttp.auth=u:p",
            "check https://example.com/?sid=abc",
            "check https://example.com -o 'body=session_id=abc'",
            "check https://example.com -o 'x=Set-Cookie: a=b'",
        ] {
            assert!(holds_secret(line, &names), "{line}");
        }
        for line in [
            "add web https://example.com/?page=2 --interval 30s",
            "check tcp://127.0.0.1:22 -o send=x",
            "pause key --for 2h",
            "list --search team=web",
            "check auth://x",
            "check tcp://127.0.0.1:22 -omonkey=x",
            "add a https://example.com -oside=1",
            "add a https://user@example.com/",
        ] {
            assert!(!holds_secret(line, &names), "{line}");
        }
    }
}
