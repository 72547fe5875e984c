//! Lets tests and examples be linked beside the extension module.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_PYTHON").is_none() {
        return;
    }
    // With the feature `python` every Polars crate depends on pyo3, whose symbols only a Python
    // process has. Rust tests and examples never call them, so they may stay unresolved: the
    // alternative is to compile Polars a second time, without Python, for the tests alone.
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => println!("cargo::rustc-link-arg=-Wl,-undefined,dynamic_lookup"),
        Ok("linux") => {
            println!("cargo::rustc-link-arg-tests=-Wl,--unresolved-symbols=ignore-all,-z,lazy");
            println!("cargo::rustc-link-arg-examples=-Wl,--unresolved-symbols=ignore-all,-z,lazy");
        }
        _ => {}
    }
}
