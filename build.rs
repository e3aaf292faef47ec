//! Has the functions that a start needs lie next to each other in the release build.
//!
//! Each 64 KiB of text that are touched are a page fault, and a start touches a few functions nearly everywhere: in order it takes a
//! third of a millisecond less. `src/start.order` is the order, which `cargo bench --bench order -- --write` makes. Its names hold
//! for one compiler and one set of dependencies; those that are no longer there count for nothing. It takes lld, which Rust 1.90 and
//! later bring along; with another linker all works, and starts later.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ORDER: &str = "src/start.order";

fn main() {
    println!("cargo:rerun-if-changed={ORDER}");
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        order();
    }
}

/// Tells the linker, if it knows what that is.
fn order() {
    let (Ok(here), Ok(out)) = (env::var("CARGO_MANIFEST_DIR"), env::var("OUT_DIR")) else {
        return;
    };
    let order = Path::new(&here).join(ORDER);
    let flags = [
        format!("-Wl,--symbol-ordering-file={}", order.display()),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    if links(&PathBuf::from(out), &flags) {
        for flag in flags {
            println!("cargo:rustc-link-arg-bin=sbox={flag}");
        }
    }
}

/// Links an empty program with these flags, as the real one will be.
fn links(out: &Path, flags: &[String]) -> bool {
    let source = out.join("empty.rs");
    if std::fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.arg(&source).arg("--target").arg(variable("TARGET"));
    rustc.arg("-o").arg(out.join("empty"));
    let linker = variable("RUSTC_LINKER");
    if !linker.is_empty() {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let encoded = variable("CARGO_ENCODED_RUSTFLAGS");
    rustc.args(encoded.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(flags.iter().map(|flag| format!("-Clink-arg={flag}")));
    let status = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
