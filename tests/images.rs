//! Images: what the kernel is given in the place of a program whose loader it would not find, under `--root`.
//!
//! They are made of the program's file, and must be what the kernel would have mapped of it: whole pages, of the file as it is
//! now. And nobody must be able to have more of them made than are used.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::root::root_of;
use support::{Job, Skip, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        whole_pages_are_the_files,
        another_ones_file_is_run_as_it_is_now,
        who_is_killed_has_no_image_made,
    ])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch directories have plain names")
}

fn whole_pages_are_the_files() -> Test {
    let (program, root) = (guest("image_pages")?, root_of(&["/bin/true"])?);
    let (outside, inside) = (scratch(), scratch());
    need_sbox()?;
    let job = Job::new([&program]).arg("copy");
    let native = job.clone().dir(outside.path()).native();
    native.assert_guest_ok("image_pages, natively");
    let boxed = job
        .clone()
        .writable_dir(inside.path())
        .flags(["--root", text(root.path())])
        .run_sbox();
    job.compare(&native, &boxed);
    boxed.assert_guest_ok("image_pages");
    Ok(())
}

/// Nothing tells sbox whether somebody writes to it: a lease is for the owner alone (fcntl(2)).
fn another_ones_file_is_run_as_it_is_now() -> Test {
    let (program, root, dir) = (guest("image_stale")?, root_of(&["/bin/true"])?, scratch());
    need_sbox()?;
    let copy = dir.path().join("program");
    fs::copy(&program, &copy).expect("copy");
    // Somebody else's, whoever we are.
    if chown(&copy, Some(54_321), None).is_err() {
        return Err(Skip(
            "only root can make a file that is another one's".into(),
        ));
    }
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("chmod");
    // Times tell what has changed lately; here nothing has.
    std::thread::sleep(Duration::from_millis(300));
    let job = Job::new([&program]).arg(&copy);
    job.native().assert_guest_ok("image_stale, natively");
    let boxed = job
        .writable_dir(dir.path())
        .flags(["--root", text(root.path())])
        .run_sbox();
    boxed.assert_guest_ok("image_stale");
    Ok(())
}

/// Memory of files without names, of the whole machine, in MiB (proc_meminfo(5), `Shmem`).
fn shared_memory() -> u64 {
    let all = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = all.lines().find(|l| l.starts_with("Shmem:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
    kib.map_or(0, |kib: u64| kib >> 10)
}

/// An image takes memory that no limit of the guest's counts: it is made for a guest that waits for it, one at a time.
fn who_is_killed_has_no_image_made() -> Test {
    const MIB: u64 = 64;
    let (program, root, dir) = (guest("image_killed")?, root_of(&["/bin/true"])?, scratch());
    need_sbox()?;
    let large = dir.path().join("large");
    make_large(&large, MIB);
    let before = shared_memory();
    let (over, most) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(shared_memory(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let output = Job::new([&program])
            .arg(&large)
            .arg("80")
            .writable_dir(dir.path())
            .flags(["--root", text(root.path())])
            .run_sbox();
        over.store(true, Ordering::Relaxed);
        output.assert_guest_ok("image_killed");
    });
    let grown = most.into_inner().saturating_sub(before);
    assert!(grown < 4 * MIB, "{grown} MiB of images at a time");
    Ok(())
}

/// A program of which the kernel maps so much.
fn make_large(path: &Path, mib: u64) {
    let source = path.with_extension("c");
    let code = format!(
        "static const char much[{mib}l << 20] = {{1}};\nint main(int c, char **v) {{ (void)v; return much[c]; }}\n"
    );
    fs::write(&source, code).expect("write");
    let made = std::process::Command::new("cc")
        .args(["-O0", "-o"])
        .args([path, &source])
        .output()
        .expect("cc");
    assert!(made.status.success(), "{made:?}");
    // Holes aren't copied.
    let mut bytes = fs::read(path).expect("read");
    for page in bytes.chunks_mut(4096).skip(64) {
        let all_zero = page.iter().all(|&b| b == 0);
        if all_zero && page.len() == 4096 {
            page[4095] = 1;
        }
    }
    drop(File::create(path).expect("create"));
    fs::write(path, bytes).expect("write");
}
