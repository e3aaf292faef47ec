//! Guests in copy-on-write mounts: they get the answers that a plain directory gives, and the host's
//! directory stays what it was.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
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
        every_way_to_change_a_file,
        by_descriptors_that_only_name,
        files_keep_their_identity,
        a_copy_is_not_its_original,
        attacks_on_what_lies_below,
        files_are_copied_while_others_use_them,
        a_killed_run_leaves_whole_files,
        attributes_of_the_format_are_hidden,
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

/// What the guest `cow` finds.
fn filled(dir: &Path) {
    for name in ["a", "b", "c", "h1", "read-only", "tool"] {
        fs::write(dir.join(name), format!("text of {name}")).expect("write");
    }
    fs::write(dir.join("tool"), "#!/bin/sh\nexit 7\n").expect("write");
    set_mode(&dir.join("tool"), 0o755);
    set_mode(&dir.join("read-only"), 0o444);
    fs::hard_link(dir.join("h1"), dir.join("h2")).expect("link");
    symlink("a", dir.join("link")).expect("symlink");
    for sub in ["d", "many"] {
        fs::create_dir(dir.join(sub)).expect("mkdir");
    }
    for name in ["one", "two", "three"] {
        fs::write(dir.join("d").join(name), name).expect("write");
    }
    for n in 0..50 {
        fs::write(dir.join(format!("many/f{n}")), "").expect("write");
    }
    mkfifo(&dir.join("fifo"), Mode::from_bits_truncate(0o666)).expect("mkfifo");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn every_way_to_change_a_file() -> Test {
    in_copy_on_write("cow", &[], filled)
}

fn by_descriptors_that_only_name() -> Test {
    in_copy_on_write("cow", &["path"], filled)
}

fn files_keep_their_identity() -> Test {
    in_copy_on_write("identity", &[], |dir| {
        filled(dir);
        fs::hard_link(dir.join("h1"), dir.join("h3")).expect("link");
    })
}

/// Where the host's file is shown besides, it and the copy are two: cp(1) would else refuse to copy the one over the other.
fn a_copy_is_not_its_original() -> Test {
    let (inside, state) = (scratch(), scratch());
    let dir = inside.path();
    fs::create_dir(dir.join("d")).expect("mkdir");
    fs::write(dir.join("d/f"), "original\n").expect("write");
    for (shown, at) in [
        (dir.to_owned(), "/besides/d/f"),
        (dir.join("d/f"), "/besides"),
    ] {
        let script = format!("echo changed > d/f; cp {at} d/f && cat d/f");
        let bind = format!("{}:{}:ro", shown.display(), "/besides");
        let output = Job::sh(&script)
            .dir(dir)
            .flags([Path::new("--cow"), dir])
            .flags(["--discard", "--bind", &bind])
            .state(state.path())
            .run_sbox();
        assert_eq!(output.stdout_text(), "original\n", "{}", output.all());
    }
    Ok(())
}

/// Whatever a guest does with descriptors of the host's files, with threads that move names and with names removed: nothing of
/// the host changes, nothing comes out of its FIFO, nobody connects to its socket.
fn attacks_on_what_lies_below() -> Test {
    let (program, inside, state) = (guest("cow")?, scratch(), scratch());
    need_sbox()?;
    let dir = inside.path();
    filled(dir);
    // Through a descriptor: socket paths have no more than 108 bytes.
    let held = fs::File::open(dir).expect("open");
    let short = format!("/proc/self/fd/{}/socket", held.as_raw_fd());
    let listener = UnixListener::bind(&short).expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    let mut fifo = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(dir.join("fifo"))
        .expect("fifo");
    let before = snapshot(dir);
    let result = Job::new([&program])
        .arg("attack")
        .dir(dir)
        .flags([Path::new("--cow"), dir])
        .state(state.path())
        .run_sbox();
    assert_unchanged(&before, dir);
    result.assert_guest_ok("cow attack");
    let said = fifo.read(&mut [0u8; 100]).expect_err("the FIFO is empty");
    assert_eq!(said.kind(), ErrorKind::WouldBlock);
    let came = listener.accept().expect_err("nobody connected");
    assert_eq!(came.kind(), ErrorKind::WouldBlock);
    Ok(())
}

/// What the guest `copying` expects.
fn texts(dir: &Path) {
    for file in 0..24 {
        let text: Vec<u8> = (0..1 << 16)
            .map(|at| b"0123456789abcdefghijklmnopqrstuv"[(at * 7 + at / 97 + file) % 32])
            .collect();
        fs::write(dir.join(format!("f{file}")), text).expect("write");
    }
}

fn files_are_copied_while_others_use_them() -> Test {
    in_copy_on_write("copying", &[], texts)
}

/// The supervisor is killed while several processes make it copy files: the next run finds whole ones.
fn a_killed_run_leaves_whole_files() -> Test {
    let (program, inside, state) = (guest("copying")?, scratch(), scratch());
    need_sbox()?;
    let dir = inside.path();
    texts(dir);
    let before = snapshot(dir);
    let job = |layer: &str, order: &str| {
        let mut flag = dir.as_os_str().to_owned();
        flag.push(format!("={layer}"));
        Job::new([&program])
            .arg(order)
            .dir(dir)
            .flags(["--cow".into(), flag])
            .state(state.path())
    };
    let mut random = support::Random::new();
    for round in 0..12 {
        // Four times each layer: it is killed again as it goes on.
        let layer = format!("l{}", round / 4);
        let mut command = job(&layer, "endless").sbox_command();
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sbox");
        let mut ready = [0; 6];
        let mut said = child.stdout.take().expect("a pipe");
        said.read_exact(&mut ready).expect("ready");
        std::thread::sleep(std::time::Duration::from_micros(random.below(40_000)));
        child.kill().expect("kill");
        child.wait().expect("wait");
        // Its guests are gone when nobody holds the pipe any more.
        said.read_to_end(&mut Vec::new()).expect("the end");
        let result = job(&layer, "check").run_sbox();
        result.assert_guest_ok(&format!("round {round}"));
    }
    assert_unchanged(&before, dir);
    Ok(())
}

/// Attributes that make a host's directory a layer are none of the guest's business, by path and by descriptor.
fn attributes_of_the_format_are_hidden() -> Test {
    let (program, inside, state) = (guest("cow")?, scratch(), scratch());
    need_sbox()?;
    filled(inside.path());
    let job = Job::new([&program]).dir(inside.path());
    let prepared = job.clone().arg("prepare").native();
    prepared.assert_guest_ok("cow prepare");
    let before = snapshot(inside.path());
    let result = job
        .arg("hidden")
        .flags([Path::new("--cow"), inside.path()])
        .state(state.path())
        .run_sbox();
    assert_unchanged(&before, inside.path());
    result.assert_guest_ok("cow hidden");
    Ok(())
}
