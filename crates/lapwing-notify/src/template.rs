//! Texts with named gaps: `{field}` and nothing else. No expressions, no files, no code.

use std::collections::BTreeSet;

/// A text with fields, checked when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(&'static str),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("there is no field {{{0}}}")]
    Unknown(String),
    #[error("a single {{ or }} does not begin or end a field: write {{{{ or }}}} for the character itself")]
    Brace,
}

impl Template {
    /// Reads `text`; `{{` and `}}` stand for the braces themselves.
    pub fn parse(text: &str, fields: &'static [&'static str]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push_str(&rest[..1]);
                rest = &rest[2..];
                continue;
            }
            let (name, after) = rest
                .strip_prefix('{')
                .and_then(|r| r.split_once('}'))
                .ok_or(TemplateError::Brace)?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(TemplateError::Brace);
            }
            let field = fields.iter().copied().find(|f| *f == name);
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Field(
                field.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?,
            ));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        parts.retain(|p| !matches!(p, Part::Text(t) if t.is_empty()));
        Ok(Self { parts })
    }

    /// The text with every field replaced by what `value` gives for it, made safe by `escape`, which is the sink's own.
    pub fn render(&self, value: impl Fn(&str) -> String, escape: fn(&str) -> String) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(name) => out.push_str(&escape(&value(name))),
            }
        }
        out
    }

    /// The text before the first field.
    pub(crate) fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The fields that it uses.
    pub fn fields(&self) -> BTreeSet<&'static str> {
        self.parts
            .iter()
            .filter_map(|p| {
                if let Part::Field(name) = p {
                    Some(*name)
                } else {
                    None
                }
            })
            .collect()
    }
}

/// `text` as it stands between the quotes of a JSON string.
pub(crate) fn escape_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(text, &["a", "KIND"])?;
        Ok(template.render(|name| format!("<{name}{{a}}>"), |v| v.replace('<', "&lt;")))
    }

    #[test]
    fn fields_are_replaced_once_and_escaped() {
        assert_eq!(
            rendered("{a}/x_{KIND}{a}").unwrap(),
            "&lt;a{a}>/x_&lt;KIND{a}>&lt;a{a}>"
        );
        assert_eq!(rendered("{{a}} }}{{").unwrap(), "{a} }{");
        assert_eq!(rendered("{{{KIND}}}").unwrap(), "{&lt;KIND{a}>}");
        assert_eq!(rendered("").unwrap(), "");
    }

    #[test]
    fn everything_else_is_an_error() {
        assert_eq!(rendered("{b}").unwrap_err(), TemplateError::Unknown("b".into()));
        for bad in ["{", "}", "{a", "a}", "{}", "{a b}", "{a.b}", "{{a}", "{a|upper}"] {
            assert_eq!(rendered(bad).unwrap_err(), TemplateError::Brace, "{bad}");
        }
    }

    #[test]
    fn json_strings_stay_strings() {
        let hostile = "\" , \"x\": 1 \\ \u{0} \n \u{2028}";
        let text = format!("\"{}\"", escape_json(hostile));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }
}
