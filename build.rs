//! Lets Rust tests and examples be linked beside the extension module.

use std::path::PathBuf;
use std::process::Command;

const NO_PYTHON: &str = "tests/link/no_python.c";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={NO_PYTHON}");
    let on = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if !on("PYTHON") || !on("EXAMPLES") {
        return;
    }
    let object = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("no_python.o");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    match cc.args(["-c", NO_PYTHON, "-o"]).arg(&object).status() {
        Ok(status) if status.success() => {
            println!("cargo::rustc-link-arg-tests={}", object.display());
            println!("cargo::rustc-link-arg-examples={}", object.display());
        }
        _ => println!("cargo::warning=no C compiler: tests and examples cannot be linked"),
    }
}
