//! Guests in copy-on-write mounts: they get the answers that a plain directory gives, and the host's
//! directory stays what it was.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use support::tree::{assert_unchanged, snapshot};
use support::{Job, Test, guest, guest_static, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        file_operations,
        path_errors,
        path_only_descriptors,
        attributes,
        fifos,
        unix_sockets,
        exec_forms,
        threads,
    ])
}

/// Runs a guest natively in one directory and in sbox in a copy-on-write mount of an equal one; compares what it says, and the
/// host's directory with what it was.
fn in_copy_on_write(name: &str, args: &[&str], prepare: impl Fn(&Path)) -> Test {
    let (program, outside, inside, state) = (guest(name)?, scratch(), scratch(), scratch());
    need_sbox()?;
    prepare(outside.path());
    prepare(inside.path());
    let before = snapshot(inside.path());
    let mut job = Job::new([&program]);
    for arg in args {
        job = job.arg(arg);
    }
    let native = job.clone().dir(outside.path()).native();
    native.assert_guest_ok(&format!("{name}, natively"));
    let boxed = job
        .clone()
        .dir(inside.path())
        .flags([Path::new("--cow"), inside.path()])
        .state(state.path())
        .run_sbox();
    assert_unchanged(&before, inside.path());
    job.compare(&native.without(KNOWN), &boxed.without(KNOWN));
    boxed.assert_guest_ok(name);
    Ok(())
}

/// What is known to differ: removed and very deep directories can't be entered by descriptor; as in overlayfs, guests can make
/// no whiteouts.
const KNOWN: &[&str] = &[
    "fchdir to it: ",
    "getcwd beyond PATH_MAX: ",
    "a whiteout: ",
    "open a whiteout: ",
    "leave a whiteout: ",
    "in its place: ",
];

/// Nothing to prepare.
fn empty(_: &Path) {}

fn file_operations() -> Test {
    in_copy_on_write("files", &[], empty)
}

fn path_errors() -> Test {
    in_copy_on_write("paths", &[], empty)
}

fn path_only_descriptors() -> Test {
    in_copy_on_write("opath", &[], empty)
}

fn attributes() -> Test {
    in_copy_on_write("attrs", &[], empty)
}

fn fifos() -> Test {
    in_copy_on_write("fifo", &[], empty)
}

fn unix_sockets() -> Test {
    in_copy_on_write("sockets", &["unix"], empty)
}

fn exec_forms() -> Test {
    let (dynamic, fixed) = (guest("echoargs")?, guest_static("echoargs")?);
    in_copy_on_write("exec_forms", &[], |dir| {
        fs::copy(&dynamic, dir.join("dyn")).expect("copy");
        fs::copy(&fixed, dir.join("static")).expect("copy");
    })
}

fn threads() -> Test {
    in_copy_on_write("threads", &[], empty)
}
