//! Builds again when a file is added to or taken from what the binary carries; changes inside known files are noticed without.
#![expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

fn main() {
    println!("cargo::rerun-if-changed=runbooks");
    println!("cargo::rerun-if-changed=stdlib");
}
