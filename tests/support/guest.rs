//! Builds the guest programs of `testdata/guests`, each once per content.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Skip, Test, need, scratch_base, source_dir};

/// The directory of the built guests; every job has it in its view.
pub(crate) fn dir() -> PathBuf {
    let dir = scratch_base().join("guests");
    fs::create_dir_all(&dir).expect("guest directory");
    dir
}

/// A guest, dynamically linked.
pub(crate) fn guest(name: &str) -> Result<PathBuf, Skip> {
    build(name, &[])
}

/// A guest, statically linked.
pub(crate) fn guest_static(name: &str) -> Result<PathBuf, Skip> {
    need_static_library()?;
    build(name, &["-static"])
}

/// A guest, statically linked for fixed addresses, compiled with a definition (`-DNAME=VALUE`).
pub(crate) fn guest_static_defining(name: &str, definition: &str) -> Result<PathBuf, Skip> {
    need_static_library()?;
    build(name, &["-static", "-no-pie", definition])
}

/// A guest without a C library, linked for fixed addresses, compiled with definitions.
pub(crate) fn guest_bare(name: &str, definition: &str) -> Result<PathBuf, Skip> {
    build(
        name,
        &["-static", "-no-pie", "-nostdlib", "-DBARE", definition],
    )
}

fn need_static_library() -> Test {
    let found = Command::new(compiler()?)
        .arg("-print-file-name=libc.a")
        .output()
        .expect("compiler");
    if !found.stdout.starts_with(b"/") {
        return Err(Skip("no static C library".into()));
    }
    Ok(())
}

/// A guest compiled with a definition (`-DNAME=VALUE`).
pub(crate) fn guest_defining(name: &str, definition: &str) -> Result<PathBuf, Skip> {
    build(name, &[definition])
}

fn compiler() -> Result<String, Skip> {
    need(&["/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"])
}

/// Compiles unless this very content was compiled before. Tests run side by side: the result is renamed into place.
fn build(name: &str, flags: &[&str]) -> Result<PathBuf, Skip> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let compiler = compiler()?;
    let sources = source_dir().join("testdata/guests");
    let source = sources.join(format!("{name}.c"));
    let mut hasher = DefaultHasher::new();
    let headers = [
        "check.h",
        "jail.h",
        "pids_more.h",
        "pids_shared.h",
        "host_words.h",
    ]
    .map(|header| sources.join(header));
    for file in [&source].into_iter().chain(&headers) {
        fs::read(file)
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
            .hash(&mut hasher);
    }
    flags.hash(&mut hasher);
    let built = dir().join(format!("{name}-{:016x}", hasher.finish()));
    if built.exists() {
        return Ok(built);
    }
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let unfinished = dir().join(format!("{name}.{}.{number}", std::process::id()));
    // The guests pass bad pointers and ignore results on purpose.
    let output = Command::new(compiler)
        .args([
            "-O2",
            "-pthread",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-result",
            "-Wno-nonnull",
            "-Wno-stringop-overread",
        ])
        .args(flags)
        .arg("-o")
        .arg(&unfinished)
        .arg(&source)
        .output()
        .expect("compiler");
    assert!(
        output.status.success(),
        "{name}.c: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(&unfinished, &built).expect("rename");
    Ok(built)
}
