//! Lets Rust tests and examples be linked beside the extension module.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const NO_PYTHON: &str = "tests/link/no_python.c";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={NO_PYTHON}");
    let on = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if !on("PYTHON") || !on("EXAMPLES") {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let (object, archive) = (out.join("no_python.o"), out.join("libno_python.a"));
    let tool = |variable, name: &str| Command::new(env::var_os(variable).unwrap_or(name.into()));
    let compiled = tool("CC", "cc")
        .args(["-c", NO_PYTHON, "-o"])
        .arg(&object)
        .status();
    let archived = tool("AR", "ar")
        .arg("crs")
        .args([&archive, &object])
        .status();
    if [compiled, archived]
        .iter()
        .any(|status| !matches!(status, Ok(status) if status.success()))
    {
        println!("cargo::warning=no C compiler: tests and examples cannot be linked");
        return;
    }
    println!("cargo::rustc-link-arg-tests={}", object.display());
    println!("cargo::rustc-link-arg-examples={}", object.display());
    // Cargo passes no arguments to the linker of unit tests: `lib.rs` names the archive.
    println!("cargo::rustc-link-search=native={}", out.display());
}
