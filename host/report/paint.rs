//! Colour, where it is wanted. Nothing depends on it: every line says the same without.

use std::fmt::Display;

/// Whether and how words are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colour on a terminal, unless `NO_COLOR` is set or the terminal is `dumb`.
    #[must_use]
    pub fn wanted(terminal: bool) -> Paint {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint { on: terminal && !set("NO_COLOR") && !dumb }
    }

    /// No colour.
    #[must_use]
    pub const fn plain() -> Paint {
        Paint { on: false }
    }

    /// Colour, wherever it goes.
    #[must_use]
    pub const fn always() -> Paint {
        Paint { on: true }
    }

    /// Whether there is colour.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.on
    }

    fn code(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// What went well.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.code("32", text)
    }

    /// What went wrong.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.code("1;31", text)
    }

    /// What wants attention.
    #[must_use]
    pub fn warn(self, text: impl Display) -> String {
        self.code("33", text)
    }

    /// What a line is about.
    #[must_use]
    pub fn strong(self, text: impl Display) -> String {
        self.code("1", text)
    }

    /// What may be overlooked.
    #[must_use]
    pub fn dim(self, text: impl Display) -> String {
        self.code("2", text)
    }
}
