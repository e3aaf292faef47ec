//! Random operations on the kernel's overlayfs and on the engine: every answer and the trees at the
//! end are compared, and each side reads what the other has written.
//!
//! The kernel's part is done by this program again, in a mount namespace of its own: as root by
//! `unshare -m`, else with a user namespace, where its capabilities are dropped once the overlay is
//! mounted. It draws the same operations from the same seed and prints its answers.

use crate::ops::{self, Op};
use crate::sides::{Engine, Kernel};
use crate::support::{self, Named, Random, Skip, Test};
use crate::tree;
use sbox::sys;
use sbox::vfs::cow::{Cow, Sync};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub(crate) fn all() -> Vec<Named> {
    crate::tests![
        overlayfs_agrees_over_one_lower,
        overlayfs_agrees_over_three_lowers
    ]
}

fn overlayfs_agrees_over_one_lower() -> Test {
    compare(1)
}

fn overlayfs_agrees_over_three_lowers() -> Test {
    compare(3)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn compare(lowers: usize) -> Test {
    let first = number("SBOX_COW_SEED").unwrap_or_else(|| Random::new().seed);
    let ops = number("SBOX_COW_OPS").unwrap_or(400);
    let runs = number("SBOX_COW_RUNS").unwrap_or(4);
    let mut outcomes = BTreeSet::new();
    for run in 0..runs {
        let seed = first.wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        println!("{lowers} lowers: SBOX_COW_SEED={seed} SBOX_COW_OPS={ops}");
        Trial::new(lowers, seed, ops).run(&mut outcomes)?;
    }
    // A run in which everything fails compares nothing.
    let fruitful = outcomes.iter().filter(|o| o.ends_with(" ok")).count();
    assert!(runs * ops < 1600 || fruitful >= 30, "{outcomes:#?}");
    Ok(())
}

/// Where overlayfs is known to answer otherwise than a file system would.
enum Quirk {
    None,
    /// And nothing was changed.
    Harmless,
    /// And from here on the two trees differ.
    Parted,
}

fn quirk(op: &Op, engine: &str, overlayfs: &str, linked: bool) -> Quirk {
    match (op.kind, engine, overlayfs) {
        // Renaming onto another name of the same file, or exchanging the two, changes nothing (rename(2)). overlayfs may
        // not know that it is the same; it changes nothing either.
        (ops::Kind::Rename | ops::Kind::Exchange, "ok ", "ESTALE") => Quirk::Harmless,
        // In a removed directory nothing can be made; overlayfs tries to copy it up.
        (ops::Kind::Nameless, "ENOENT", "EPERM" | "EACCES" | "ENOTDIR") => Quirk::Harmless,
        // Without index=on, which takes root, two names of one file may be two inodes in memory, and
        // one remembers the mode that it had before it was changed by way of the other.
        (_, a, b) if linked && a != b && (a == "EACCES" || b == "EACCES") => Quirk::Parted,
        _ => Quirk::None,
    }
}

struct Trial {
    dir: tempfile::TempDir,
    lowers: Vec<PathBuf>,
    seed: u64,
    ops: u64,
}

impl Trial {
    fn new(lowers: usize, seed: u64, ops: u64) -> Self {
        let dir = support::scratch();
        let mut random = Random::from_seed(seed);
        let paths: Vec<_> = (0..lowers)
            .map(|n| dir.path().join(format!("lower{n}")))
            .collect();
        for (n, path) in paths.iter().enumerate() {
            fs::create_dir(path).unwrap();
            tree::fill(path, &mut random, 2, n + 1 < lowers);
        }
        for side in ["kernel", "engine"] {
            fs::create_dir(dir.path().join(side)).unwrap();
            for part in ["upper", "work"] {
                fs::create_dir(dir.path().join(side).join(part)).unwrap();
            }
        }
        fs::create_dir(dir.path().join("mnt")).unwrap();
        Self {
            dir,
            lowers: paths,
            seed,
            ops,
        }
    }

    fn run(&self, outcomes: &mut BTreeSet<String>) -> Test {
        let before: Vec<_> = self
            .lowers
            .iter()
            .map(|l| support::tree::snapshot(l))
            .collect();
        let kernel = self.child("ops", "kernel", true)?;
        let mut random = Random::from_seed(self.seed);
        let mut linked = false;
        let mut engine = Engine::new(open(&self.dir.path().join("engine"), &self.lowers));
        for (n, expected) in (0..self.ops).zip(&kernel) {
            let op = Op::random(&mut random);
            let answer = ops::run(&mut engine, &op);
            if env::var_os("SBOX_COW_TRACE").is_some() {
                println!("{n} {op} = {answer}");
            }
            linked |= op.kind == ops::Kind::Link && answer == "ok ";
            match quirk(&op, &answer, expected, linked) {
                Quirk::None => {}
                Quirk::Harmless => continue,
                Quirk::Parted => {
                    println!("parted at operation {n} of SBOX_COW_SEED={}", self.seed);
                    return Ok(());
                }
            }
            assert_eq!(
                &answer, expected,
                "left: engine, right: overlayfs; operation {n} of SBOX_COW_SEED={}: {op}",
                self.seed
            );
            let word = answer.split(' ').next().unwrap_or_default();
            outcomes.insert(format!("{:?} {word}", op.kind));
        }
        assert_eq!(kernel.len() as u64, self.ops);
        drop(engine);
        for (lower, before) in self.lowers.iter().zip(&before) {
            support::tree::assert_unchanged(before, lower);
        }
        // All four readings of the two uppers.
        let expected = self.child("dump", "kernel", true)?;
        for (side, by_kernel) in [("engine", true), ("engine", false), ("kernel", false)] {
            let role = if by_kernel { "dump" } else { "read" };
            let found = self.child(role, side, by_kernel)?;
            let odd = |a: &[String], b: &[String]| -> Vec<String> {
                a.iter().filter(|line| !b.contains(line)).cloned().collect()
            };
            assert!(
                found == expected,
                "upper of {side}, read by the kernel: {by_kernel}, SBOX_COW_SEED={}:\nhas {:#?}\nshould have {:#?}",
                self.seed,
                odd(&found, &expected),
                odd(&expected, &found)
            );
        }
        Ok(())
    }

    /// Runs this program in a namespace, with the overlay mounted if `mount` says so.
    fn child(&self, role: &str, side: &str, mount: bool) -> Result<Vec<String>, Skip> {
        let side = self.dir.path().join(side);
        let lowers: Vec<_> = self.lowers.iter().map(|l| l.to_str().unwrap()).collect();
        let options = format!(
            "userxattr,index=off,lowerdir={},upperdir={},workdir={}",
            lowers.join(":"),
            side.join("upper").display(),
            side.join("work").display()
        );
        let point = self.dir.path().join("mnt");
        let script = "if test -n \"$1\"; then mount -t overlay overlay -o \"$1\" \"$2\" || exit 77; fi; exec \"$3\"";
        let kind = if nix::unistd::geteuid().is_root() {
            "-m"
        } else {
            "-Urm"
        };
        let out = Command::new("unshare")
            .args([kind, "sh", "-c", script, "sh"])
            .arg(if mount { &options } else { "" })
            .arg(&point)
            .arg(env::current_exe().unwrap())
            .env("SBOX_COW_ROLE", role)
            .env("SBOX_COW_POINT", &point)
            .env("SBOX_COW_SIDE", &side)
            .env("SBOX_COW_LOWERS", lowers.join(":"))
            .env("SBOX_COW_SEED", self.seed.to_string())
            .env("SBOX_COW_OPS", self.ops.to_string())
            .output()
            .map_err(|e| Skip(format!("unshare(1): {e}")))?;
        let stderr = String::from_utf8_lossy(&out.stderr);
        match out.status.code() {
            Some(0) => {}
            Some(1 | 77) if !stderr.contains("panicked") => {
                return Err(Skip(format!(
                    "no overlay can be mounted here: {}",
                    stderr.trim()
                )));
            }
            _ => panic!("{role}: {}: {stderr}", out.status),
        }
        let text = String::from_utf8(out.stdout).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

pub(crate) fn open(store: &Path, lowers: &[PathBuf]) -> Cow {
    let held =
        |path: &Path| sys::fs::open(&tree::c_path(path), libc::O_PATH | libc::O_DIRECTORY).unwrap();
    let lowers = lowers.iter().map(|path| held(path)).collect();
    Cow::open(held(store).as_fd(), lowers, Sync::Never).unwrap()
}

/// The part in the namespace: prints answers, or a tree.
pub(crate) fn child(role: &str) -> ExitCode {
    let variable = |name: &str| env::var(name).unwrap();
    let mut lines = vec![];
    if role == "busy" || role == "change" {
        let lowers = [PathBuf::from(variable("SBOX_COW_LOWERS"))];
        let work = match role {
            "busy" => crate::crashes::busy,
            _ => crate::steps::change,
        };
        return work(&variable("SBOX_COW_SIDE"), &lowers);
    }
    if role == "read" {
        let lowers: Vec<_> = variable("SBOX_COW_LOWERS")
            .split(':')
            .map(PathBuf::from)
            .collect();
        let cow = open(Path::new(&variable("SBOX_COW_SIDE")), &lowers);
        tree::dump_engine(cow.root(), "", &mut lines);
    } else {
        let point = tree::c_path(Path::new(&variable("SBOX_COW_POINT")));
        let root = sys::fs::open(&point, libc::O_PATH | libc::O_DIRECTORY).unwrap();
        if role == "dump" {
            tree::dump_kernel(&root, "", &mut lines);
        } else {
            if !is_real_root() {
                sys::process::drop_capabilities().unwrap();
            }
            let mut random = Random::from_seed(number("SBOX_COW_SEED").unwrap());
            let mut side = Kernel::new(root);
            for _ in 0..number("SBOX_COW_OPS").unwrap() {
                lines.push(ops::run(&mut side, &Op::random(&mut random)));
            }
        }
    }
    println!("{}", lines.join("\n"));
    ExitCode::SUCCESS
}

/// False for the root of a user namespace.
fn is_real_root() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"))
}
