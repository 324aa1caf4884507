//! What this process keeps to itself: it holds credentials, and what it read of Secrets.

use crate::base::{Error, Result};

/// From now on a crash leaves no core file, and no other process of this user may look into the memory.
///
/// # Errors
/// When the system refuses it.
pub(super) fn keep_to_itself() -> Result<()> {
    let cannot = |error: nix::errno::Errno| Error::internal("keeping this process to itself").cause(error.desc());
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).map_err(cannot)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_file_and_no_look_from_outside() {
        keep_to_itself().unwrap();
        assert_eq!(nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).unwrap(), (0, 0));
        #[cfg(target_os = "linux")]
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
    }
}
