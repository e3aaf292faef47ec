//! Two promises about every call of the table: on a read-only mount none changes anything, and none can tell what is
//! hidden from what is absent.
//!
//! The calls come from the table. One that takes a path or a descriptor and is in none of the lists here fails the test,
//! so that a call added later can't be forgotten.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sbox::syscall::table::{Mechanism, Row, TABLE};
use support::{Job, Output, Skip, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        every_call_that_could_change_a_file_is_tried,
        nothing_changes_on_a_read_only_mount,
        every_call_that_takes_a_path_is_asked,
        hidden_and_absent_give_the_same_answers,
        hidden_and_absent_take_as_long,
    ])
}

/// Calls that take a path or a descriptor and change no file by it: no content, attribute or name. The kernel lets all of
/// them through on a read-only mount.
const CHANGES_NOTHING: &[(&str, &str)] = &[
    (
        "look at a path",
        "stat lstat newfstatat statx readlink readlinkat statfs getxattr lgetxattr getxattrat listxattr llistxattr listxattrat file_getattr",
    ),
    (
        "look at a descriptor",
        "fstat fstatfs fgetxattr flistxattr getdents getdents64 lseek",
    ),
    ("change only the caller", "chdir fchdir execve execveat"),
    (
        "read",
        "read pread64 readv preadv preadv2 readahead fadvise64",
    ),
    (
        "write out what was written before",
        "fsync fdatasync sync_file_range syncfs",
    ),
    (
        "change the descriptor, or locks of this system",
        "close dup dup2 dup3 fcntl flock",
    ),
    (
        "watch",
        "inotify_add_watch inotify_rm_watch epoll_ctl epoll_wait epoll_pwait epoll_pwait2",
    ),
    (
        "sockets: nothing but bind(2) makes a name",
        "connect accept accept4 sendto recvfrom sendmsg recvmsg shutdown listen getsockname getpeername setsockopt getsockopt recvmmsg sendmmsg",
    ),
    (
        "timers, signals, processes",
        "signalfd signalfd4 timerfd_settime timerfd_gettime pidfd_send_signal",
    ),
];

/// Calls that change a file by what they find in memory, so that their parameters don't show it.
const BY_MEMORY: &[&str] = &[
    "mprotect",
    "pkey_mprotect",
    "mremap",
    "madvise",
    "msync",
    "io_submit",
];

/// Whether a call that isn't refused names a file.
fn names_a_file(row: &Row) -> bool {
    let lets_through = !matches!(row.mechanism, Mechanism::Refuse(_) | Mechanism::Fake);
    let takes_one = row
        .params
        .iter()
        .any(|p| ["UserPath", "OptPath", "DirFd", "Fd"].contains(&p.ty));
    lets_through && (takes_one || BY_MEMORY.contains(&row.name))
}

/// What differs from `files`, in either direction, and what `listed` has twice or the table has not.
fn check_lists(files: &BTreeSet<&str>, tried: &BTreeSet<&str>, untried: &[(&str, &str)]) {
    let mut known = tried.clone();
    for name in untried.iter().flat_map(|(_, names)| names.split(' ')) {
        assert!(known.insert(name), "{name} is tried, or listed twice");
    }
    let missing: Vec<_> = files.difference(&known).collect();
    assert!(missing.is_empty(), "neither tried nor listed: {missing:?}");
    let unknown: Vec<_> = known.difference(files).collect();
    assert!(unknown.is_empty(), "no such call in the table: {unknown:?}");
}

/// The guest `changers` in a directory of its own.
struct Changers {
    program: PathBuf,
    top: tempfile::TempDir,
}

impl Changers {
    fn new() -> Result<Self, Skip> {
        let program = guest("changers")?;
        need_sbox()?;
        let it = Self {
            program,
            top: scratch(),
        };
        it.job("prepare").native().assert_ended("prepare");
        Ok(it)
    }

    fn job(&self, what: &str) -> Job {
        let top = self.top.path();
        let job = Job::new([self.program.as_path(), Path::new(what), top]).dir(Path::new("/"));
        let flags = [Path::new("--rw"), top, Path::new("--ro"), &top.join("ro")];
        job.flags(flags)
    }

    /// All about the files of the read-only directory.
    fn look(&self) -> String {
        let output = self.job("look").native();
        output.assert_ended("look");
        output.stdout_text()
    }
}

trait Ended {
    fn assert_ended(&self, what: &str);
}

impl Ended for Output {
    fn assert_ended(&self, what: &str) {
        assert!(self.code() == Some(0), "{what}: {}", self.all());
    }
}

/// The name that a line of the guest begins with.
fn call(line: &str) -> &str {
    line.split(',').next().unwrap_or(line)
}

fn every_call_that_could_change_a_file_is_tried() -> Test {
    let site = Changers::new()?;
    let inside = site.job("try").run_sbox();
    inside.assert_ended("changers");
    let said = inside.stdout_text();
    let tried: BTreeSet<&str> = said.lines().map(call).collect();
    let files = TABLE.iter().filter(|row| names_a_file(row));
    let files: BTreeSet<&str> = files.map(|row| row.name).collect();
    check_lists(&files, &tried, CHANGES_NOTHING);
    Ok(())
}

/// Where sbox says something else than the kernel does on a read-only bind mount: what the line tells, what sbox says, why.
/// None of these lets anything be changed.
const DIFFERS: &[(&[&str], &str, &str)] = &[
    (
        &["/proc/"],
        "EROFS",
        "what lies in /proc can't be changed, its links included",
    ),
    (
        &["faccessat2", "/proc/", "nofollow"],
        "done",
        "as on every link, not those of /proc alone",
    ),
    (
        &["ioctl"],
        "ENOTTY",
        "the filter lets a few commands pass, none of which changes an inode",
    ),
    (
        &["fifo"],
        "EROFS",
        "who writes to a FIFO talks to the host, and moves its times",
    ),
    (
        &["open", "flags 03"],
        "EROFS",
        "the access mode 3 asks for writing, though it gives none",
    ),
    (
        &["mknod", "locked/absent"],
        "EACCES",
        "a device is refused before the mount is looked at",
    ),
    (
        &["fsetxattr", "working directory"],
        "EBADF",
        "AT_FDCWD is a descriptor for this call since Linux 6.13, by accident",
    ),
    (
        &["removexattrat", "working directory"],
        "EROFS",
        "the same by accident none",
    ),
    (
        &["truncate", "frozen"],
        "EACCES",
        "the order before Linux 6.14 was another",
    ),
];

fn nothing_changes_on_a_read_only_mount() -> Test {
    let site = Changers::new()?;
    let before = site.look();
    let outside = site.job("jail").native();
    assert_eq!(before, site.look(), "natively");
    let inside = site.job("try").run_sbox();
    assert_eq!(before, site.look(), "in sbox");
    inside.assert_ended("changers");
    if outside.code() == Some(2) {
        return Err(Skip(format!(
            "no read-only mount to compare with: {}",
            outside.stderr_text()
        )));
    }
    outside.assert_ended("changers, natively");
    let (outside, inside) = (outside.stdout_text(), inside.stdout_text());
    assert_eq!(outside.lines().count(), inside.lines().count());
    let mut wrong = vec![];
    for (native, ours) in outside.lines().zip(inside.lines()) {
        let said = ours.rsplit(' ').next();
        let known = DIFFERS
            .iter()
            .any(|(parts, says, _)| said == Some(says) && parts.iter().all(|p| ours.contains(p)));
        if native != ours && !known {
            wrong.push(format!(
                "{ours}, natively {}",
                native.rsplit(' ').next().unwrap_or("")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Hidden names of every sort in a directory of their own, and names of the same length that are absent.
struct Names {
    program: PathBuf,
    dir: tempfile::TempDir,
}

/// What differs in the names of a pair.
const PAIR: [&str; 2] = ["hidden", "absent"];

/// What is hidden. The last is a visible link to something hidden.
const SORTS: &[&str] = &["file", "directory", "link", "fifo", "target"];

impl Names {
    fn new() -> Result<Self, Skip> {
        let program = guest("names")?;
        need_sbox()?;
        let it = Self {
            program,
            dir: scratch(),
        };
        fs::write(it.dir.path().join("mine"), "mine").expect("write");
        let at = |sort: &str| it.path(PAIR[0], sort);
        fs::write(at("file"), "SECRET").expect("write");
        fs::create_dir_all(at("directory").join("below")).expect("mkdir");
        fs::write(at("directory").join("below/more"), "SECRET").expect("write");
        symlink("mine", at("link")).expect("symlink");
        mkfifo(&at("fifo"), Mode::from_bits_truncate(0o600)).expect("mkfifo");
        for which in PAIR {
            symlink(format!("{which}-file"), it.path(which, "target")).expect("symlink");
        }
        Ok(it)
    }

    fn path(&self, which: &str, sort: &str) -> PathBuf {
        self.dir.path().join(format!("{which}-{sort}"))
    }

    fn job(&self, what: &str, grant: &str) -> Job {
        let mut job = Job::new([self.program.as_path(), Path::new(what)])
            .dir(Path::new("/"))
            .flags([Path::new(grant), self.dir.path()]);
        for sort in SORTS.iter().filter(|s| **s != "target") {
            job = job.flags([Path::new("--hide"), &self.path(PAIR[0], sort)]);
        }
        job
    }

    /// What is said of one name. A writable directory is asked for nothing that would make the absent name.
    fn said(&self, grant: &str, which: &str, sort: &str) -> String {
        let what = if grant == "--ro" { "all" } else { "keep" };
        let output = self.job(what, grant).arg(self.path(which, sort)).run_sbox();
        output.assert_ended("names");
        output.stdout_text()
    }
}

/// Calls that take a path behind a pointer.
const ADDRESSES: &[&str] = &["connect", "bind"];

fn every_call_that_takes_a_path_is_asked() -> Test {
    let names = Names::new()?;
    let said = names.said("--ro", "absent", "file");
    let asked: BTreeSet<&str> = said.lines().map(call).collect();
    let takes_a_path = |row: &&Row| {
        let one = row
            .params
            .iter()
            .any(|p| ["UserPath", "OptPath"].contains(&p.ty));
        let lets_through = !matches!(row.mechanism, Mechanism::Refuse(_) | Mechanism::Fake);
        lets_through && (one || ADDRESSES.contains(&row.name))
    };
    let paths = TABLE.iter().filter(takes_a_path).map(|row| row.name);
    check_lists(&paths.collect(), &asked, &[]);
    Ok(())
}

fn hidden_and_absent_give_the_same_answers() -> Test {
    let names = Names::new()?;
    let mut wrong = vec![];
    let mut asked = 0;
    for grant in ["--ro", "--rw"] {
        for sort in SORTS {
            let [hidden, absent] = PAIR.map(|which| names.said(grant, which, sort));
            assert_eq!(hidden.lines().count(), absent.lines().count());
            asked += hidden.lines().count();
            for (h, a) in hidden.lines().zip(absent.lines()).filter(|(h, a)| h != a) {
                // The two links are two files, and seen: their inodes differ.
                let of_the_link = h.contains("nofollow: done") || h.starts_with("lstat");
                if *sort == "target" && of_the_link {
                    continue;
                }
                wrong.push(format!("{grant}, {sort}: hidden: {h}; absent: {a}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    Ok(())
}

fn hidden_and_absent_take_as_long() -> Test {
    let names = Names::new()?;
    for sort in ["file", "directory"] {
        let job = names.job("time", "--ro");
        let output = job
            .arg(names.path(PAIR[0], sort))
            .arg(names.path(PAIR[1], sort))
            .run_sbox();
        print!("{}", output.stdout_text());
        output.assert_guest_ok("names");
    }
    Ok(())
}
