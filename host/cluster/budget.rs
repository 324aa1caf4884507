//! How much a plan may read from a live cluster by itself.

/// What the simulated controllers of a plan may cause to be read. What a script reads it always gets: in a run it would, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Requests that may be sent; 2,000 when not said.
    pub calls: u64,
    /// About how many bytes of memory the objects may take; 256 MiB when not said.
    pub bytes: u64,
    /// Requests a second, whoever causes them, after a burst of twice as many; 20 when not said.
    pub per_second: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { calls: 2_000, bytes: 256 << 20, per_second: 20 }
    }
}
