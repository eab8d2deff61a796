//! Colours of states, where colours are wanted.

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

impl Paint {
    /// The word of a state in its colour: green, yellow, red, grey.
    pub fn state(self, state: &str, text: &str) -> String {
        let code = match state {
            "up" => "32",
            "degraded" | "failing" => "33",
            "down" => "31;1",
            "inconclusive" => "35",
            _ => "90",
        };
        self.code(code, text)
    }

    pub fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.code("90", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}
