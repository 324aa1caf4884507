//! Types, behind a trait: the checker is a young library, so that nothing else depends on it.

use super::finding::Finding;
use crate::base::Result;
use crate::lua::Shelves;
use crate::run::Source;

#[cfg(feature = "check")]
mod luau;

/// Something that looks at the types of a file.
pub(crate) trait Analyzer: std::fmt::Debug {
    /// What it finds in this file; in the modules that it asks for nothing.
    ///
    /// # Errors
    /// When it breaks.
    fn analyze(&mut self, source: &Source) -> Result<Vec<Finding>>;
}

/// The type checker; or why there is none.
///
/// # Errors
/// When it does not take the definitions of the verbs.
#[cfg(feature = "check")]
pub(crate) fn analyzer(strict: bool, shelves: &Shelves) -> Result<std::result::Result<Box<dyn Analyzer>, &'static str>> {
    Ok(Ok(Box::new(luau::Luau::new(strict, shelves)?)))
}

/// The type checker; or why there is none.
///
/// # Errors
/// None.
#[cfg(not(feature = "check"))]
pub(crate) fn analyzer(_: bool, _: &Shelves) -> Result<std::result::Result<Box<dyn Analyzer>, &'static str>> {
    Ok(Err("types: this lockgate was built without the feature `check`"))
}
