//! What servers differ in: plugins that are on or off, and the version as which they behave.

use super::Store;

/// The version as which a server behaves that nobody told otherwise.
const NEWEST_MINOR: u32 = 36;

/// What is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    /// Whether pods get an account and its token.
    accounts: bool,
    /// The minor version of Kubernetes.
    minor: u32,
}

impl Default for Features {
    fn default() -> Self {
        Self { accounts: false, minor: NEWEST_MINOR }
    }
}

impl Store {
    /// Whether pods get an account and its token; no by default.
    pub(crate) fn has_accounts(&self) -> bool {
        self.features.accounts
    }

    /// From now on pods get an account and its token, or none of it.
    pub(crate) fn set_accounts(&mut self, accounts: bool) {
        self.features.accounts = accounts;
    }

    /// Whether the server behaves like v1.`minor` or a later version.
    pub(crate) fn is_at_least(&self, minor: u32) -> bool {
        self.features.minor >= minor
    }

    /// Sets the version as which the server behaves: `1.35` or `v1.35.2`. Nothing happens for what is no version.
    pub(crate) fn behave_like(&mut self, version: &str) {
        let minor = version.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse().ok());
        self.features.minor = minor.unwrap_or(self.features.minor);
    }
}
