//! The command `lockgate`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(lockgate::cli::main())
}
