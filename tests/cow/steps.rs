//! Killed at every step: of each change either all is there or nothing, and the next run goes on from it.

use crate::cases::{Place, names_in};
use crate::oracle::open;
use crate::support::Test;
use crate::support::steps::{is_chosen, kill_at};
use crate::support::tree::{assert_unchanged, snapshot};
use crate::tree::{c_path, dump_engine, set_time};
use sbox::sys::{self, Errno};
use sbox::vfs::cow::{Cow, CowDir};
use std::ffi::CStr;
use std::fs;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

type Change = fn(&Arc<CowDir>) -> Result<(), Errno>;

fn at(root: &Arc<CowDir>, path: &[&CStr]) -> Arc<CowDir> {
    path.iter().fold(Arc::clone(root), |dir, name| {
        dir.open_dir(name).expect("a directory")
    })
}

/// Every kind of change. Each can be asked for again when it didn't show.
const CHANGES: &[(&str, Change)] = &[
    ("copy up", |root| {
        at(root, &[c"d", c"e"]).copy_up(c"big").map(drop)
    }),
    ("copy up with attributes", |root| {
        root.copy_up(c"marked").map(drop)
    }),
    ("copy up a hard link", |root| root.copy_up(c"one").map(drop)),
    ("copy up its other name", |root| {
        at(root, &[c"d"]).copy_up(c"two").map(drop)
    }),
    ("chmod", |root| root.chmod(c"plain", 0o600)),
    ("truncate by open", |root| {
        let flags = libc::O_WRONLY | libc::O_TRUNC;
        at(root, &[c"d"]).open(c"inner", flags, 0).map(drop)
    }),
    ("truncate", |root| root.truncate(c"shorter", 3)),
    ("create", |root| {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
        at(root, &[c"d", c"e"]).open(c"new", flags, 0o640).map(drop)
    }),
    ("remove", |root| at(root, &[c"d"]).unlink(c"gone")),
    ("remove a copy", |root| at(root, &[c"d"]).unlink(c"inner")),
    ("remove a link", |root| root.unlink(c"link")),
    ("mkdir", |root| root.mkdir(c"made", 0o750)),
    ("mkdir where a file was removed", |root| {
        at(root, &[c"d"]).mkdir(c"gone", 0o755)
    }),
    ("symlink", |root| root.symlink(c"d/inner", c"made-link")),
    ("link", |root| {
        root.link(c"one", &at(root, &[c"made"]), c"three")
    }),
    ("rename a file of the lower", |root| {
        root.rename(c"moving", &at(root, &[c"d"]), c"moved", 0)
    }),
    ("rename over a file of the lower", |root| {
        root.rename(c"plain", &at(root, &[c"d"]), c"over", 0)
    }),
    ("rename a made directory", |root| {
        root.rename(c"made", &at(root, &[c"d"]), c"made", 0)
    }),
    ("exchange", |root| {
        root.rename(
            c"marked",
            &at(root, &[c"d"]),
            c"made",
            libc::RENAME_EXCHANGE,
        )
    }),
    ("empty a directory of the lower", |root| {
        at(root, &[c"full", c"sub"]).unlink(c"leaf")
    }),
    ("remove a directory of the lower", |root| {
        at(root, &[c"full"]).rmdir(c"sub")
    }),
    ("remove one that was emptied", |root| root.rmdir(c"full")),
    ("make it anew", |root| root.mkdir(c"full", 0o700)),
    ("rename a directory over the remains of one", |root| {
        root.rename(c"full", root, c"hollow", 0)
    }),
    ("set an attribute", |root| {
        root.set_xattr(c"shorter", c"user.mine", b"x", 0)
    }),
];

fn place() -> Place {
    let place = Place::new();
    for dir in ["d/e", "full/sub", "hollow"] {
        fs::create_dir_all(place.lower(dir)).unwrap();
    }
    for name in [
        "d/inner",
        "d/gone",
        "d/over",
        "d/e/big",
        "marked",
        "one",
        "plain",
        "shorter",
        "moving",
        "full/sub/leaf",
    ] {
        fs::write(place.lower(name), format!("{name}\n").repeat(900)).unwrap();
    }
    fs::hard_link(place.lower("one"), place.lower("d/two")).unwrap();
    symlink("plain", place.lower("link")).unwrap();
    fs::set_permissions(place.lower("marked"), fs::Permissions::from_mode(0o751)).unwrap();
    // A copy-up shows in no time.
    for name in ["marked", "one", "shorter", "hollow", "full", "d"] {
        set_time(&place.lower(""), name, 1_000_000_000);
    }
    let marked = sys::fs::open(&c_path(&place.lower("marked")), libc::O_RDONLY).unwrap();
    sys::fs::fsetxattr(marked.as_fd(), c"user.from", b"lower", 0).unwrap();
    place
}

/// The tree without the times of directories: a copy-up sets them back in a step of its own, as overlayfs does.
fn state(cow: &Cow) -> Vec<String> {
    let mut lines = vec![];
    dump_engine(cow.root(), "", &mut lines);
    for line in lines.iter_mut().filter(|line| line.contains(" 4")) {
        *line = line.split(" time ").next().unwrap().to_owned();
    }
    lines
}

fn make(cow: &Cow, changes: &[(&str, Change)]) {
    for (name, change) in changes {
        change(cow.root()).unwrap_or_else(|errno| panic!("{name}: {errno}"));
    }
}

/// What is killed: makes the change of this number, or opens a new store first.
pub(crate) fn change(side: &str, lowers: &[PathBuf]) -> ExitCode {
    let number: usize = std::env::var("SBOX_COW_OPS").unwrap().parse().unwrap();
    let opened = (number > 0).then(|| open(Path::new(side), lowers));
    if let Some(cow) = &opened {
        make(cow, &CHANGES[..number]);
    }
    println!("ready");
    std::io::stdin()
        .lock()
        .read_line(&mut String::new())
        .unwrap();
    let cow = opened.unwrap_or_else(|| open(Path::new(side), lowers));
    make(&cow, &CHANGES[number..=number]);
    ExitCode::SUCCESS
}

pub(crate) fn a_change_is_made_whole_or_not_at_all() -> Test {
    let whole = place();
    let lower = snapshot(&whole.lower(""));
    let cow = whole.open();
    let mut before = state(&cow);
    let mut calls = 0;
    for (number, (name, change)) in CHANGES.iter().enumerate() {
        change(cow.root()).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        let after = state(&cow);
        for step in (1..).filter(|&step| is_chosen(step)) {
            // The lower is never changed, and so the same for all.
            let place = Place::new();
            let killed = kill_at(
                Command::new(std::env::current_exe().unwrap())
                    .env("SBOX_COW_ROLE", "change")
                    .env("SBOX_COW_OPS", number.to_string())
                    .env("SBOX_COW_SIDE", place.store(""))
                    .env("SBOX_COW_LOWERS", whole.lower("")),
                step,
            );
            let cow = open(&place.store(""), &[whole.lower("")]);
            assert_eq!(names_in(&place.store("work")), [""; 0]);
            let found = state(&cow);
            if !killed {
                assert_eq!(found, after, "{name}");
                calls += step;
                break;
            }
            assert!(
                found == before || found == after,
                "killed at call {step} of \"{name}\":\nfound {found:#?}\nbefore it {before:#?}"
            );
            // The next run goes on.
            if found == before {
                make(&cow, &CHANGES[number..=number]);
                assert_eq!(state(&cow), after, "after call {step} of \"{name}\"");
            }
        }
        before = after;
    }
    assert_unchanged(&lower, &whole.lower(""));
    assert!(calls > 10 * CHANGES.len() as u64, "only {calls} calls");
    Ok(())
}
