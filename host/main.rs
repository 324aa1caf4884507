//! The command `lockgate`: everything is in the library.

use std::process::ExitCode;

/// A copy of a cluster is millions of small pieces: with this allocator a plan on it is a quarter quicker, and dropping a copy does not
/// hold up who makes the next (`cargo bench --bench scale`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(lockgate::cli::main())
}
