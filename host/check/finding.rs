//! What a rule found.

use crate::base::{Error, Place};

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal);+ $(;)?) => {
        /// What a finding is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])* $variant),+ }
        impl Rule {
            /// All of them.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant),+];
            /// Its word, as reports have it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Rule::$variant => $word),+ }
            }
        }
    };
}
rules! {
    /// It cannot be read as Luau.
    Syntax = "syntax";
    /// A name that nobody knows, or a global that is set.
    Name = "name";
    /// A module that is not there.
    Require = "require";
    /// A declaration that lacks a field, or has one that nobody knows; a file that does not load.
    Declaration = "declaration";
    /// An argument or option that a verb does not take.
    Option = "option";
    /// A verb where it may not be called.
    Place = "place";
    /// A parameter that is not declared, or not used.
    Param = "param";
    /// A version, image, duration or quantity compared with something else.
    Compare = "compare";
    /// A map walked over in no order.
    Order = "order";
    /// Lines of the source document that nobody answers for, or twice, or by what is not there.
    Coverage = "coverage";
    /// A write that no grant covers, or a grant that nothing needs.
    Permission = "permission";
    /// A type that does not fit.
    Type = "type";
    /// Something that the type checker's own lint advises against.
    Lint = "lint";
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// What is wrong.
    pub message: String,
    /// Why, and where else.
    pub causes: Vec<String>,
    /// What would be right.
    pub hint: Option<String>,
    /// Where.
    pub place: Place,
}

impl Finding {
    pub(crate) fn new(rule: Rule, place: Place, message: impl Into<String>) -> Finding {
        Finding { rule, message: message.into(), causes: Vec::new(), hint: None, place }
    }

    /// An error of the host as a finding: its own place if it has one in this file, else the given one.
    pub(crate) fn of(rule: Rule, error: &Error, place: Place) -> Finding {
        let own = error.places.iter().find(|own| own.file == place.file && own.line > 0).cloned();
        Finding {
            rule,
            message: error.message.clone(),
            causes: error.causes.clone(),
            hint: error.hint.clone(),
            place: own.unwrap_or(place),
        }
    }

    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Finding {
        self.causes.push(cause.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// Line and column.
    pub(crate) fn at(&self) -> (u32, u32) {
        (self.place.line, self.place.column.unwrap_or(0))
    }
}
