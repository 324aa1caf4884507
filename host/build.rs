//! Builds again when a file is added to or taken from what the binary carries; changes inside known files are noticed without.

fn main() {
    println!("cargo::rerun-if-changed=runbooks");
    println!("cargo::rerun-if-changed=stdlib");
}
