//! Random file system calls, natively and in sbox: the same answers, the same tree at the end.
//!
//! The kernel is the oracle. Natively the guest `fsops` runs without capabilities, like every program in sbox, and where
//! nothing but its own directory can be reached.
//!
//! | variable        | meaning                                        | default     |
//! |-----------------|------------------------------------------------|-------------|
//! | `SBOX_DIFF_OPS` | calls to make                                  | 20,000      |
//! | `SBOX_DIFF_SEED`| where the random numbers begin                 | the clock   |
//! | `SBOX_DIFF_MOST`| differences to find before it ends             | 1           |

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use support::fsops::{Generator, readable, written};
use support::{Job, Random, Skip, Test, guest, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        same_answers_and_same_tree,
        what_once_differed,
        races_leave_one_tree,
    ])
}

/// Calls of one list. A process start costs as much as some hundred calls; a shorter list is easier to shrink.
const LIST: u64 = 400;

/// The time for shortening a list.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a list is run: a directory that is made anew for each run, at the same path.
struct Site {
    program: PathBuf,
    scratch: tempfile::TempDir,
}

/// What a run came to.
#[derive(PartialEq, Eq)]
struct Answers {
    lines: Vec<String>,
    trouble: String,
}

impl Site {
    fn new() -> Result<Self, Skip> {
        let site = Self {
            program: guest("fsops")?,
            scratch: scratch(),
        };
        need_sbox()?;
        let probe = site.run(&[], Mode::Native);
        if !probe.trouble.is_empty() {
            return Err(Skip(format!(
                "no jail for the native run: {}",
                probe.trouble
            )));
        }
        Ok(site)
    }

    /// What sbox grants.
    fn top(&self) -> PathBuf {
        self.scratch.path().join("top")
    }

    /// Where the guest starts, and does not climb out of in one call.
    fn home(&self) -> PathBuf {
        self.top().join("m/m/m/m/m/m/m/m/m/m/m/m/home")
    }

    fn run(&self, list: &[String], mode: Mode) -> Answers {
        remove(&self.top());
        fs::create_dir_all(self.home()).expect("home");
        let (top, home) = (self.top(), self.home());
        let mut text = list.join("\n");
        text.push('\n');
        let order = if mode == Mode::Racing {
            "racing"
        } else {
            "together"
        };
        let mut job = Job::new([self.program.as_os_str(), top.as_os_str(), home.as_os_str()])
            .arg(order)
            .stdin(text.as_bytes())
            .limit_secs(120);
        let output = match mode {
            Mode::Native => {
                job = job.arg("jail").dir(&top);
                job.native()
            }
            _ => job.writable_dir(&top).run_sbox(),
        };
        let mut trouble = output.stderr_text();
        if output.code() != Some(0) {
            trouble += &output.status.to_string();
        }
        let lines = output.stdout.split(|&b| b == b'\n');
        Answers {
            lines: lines
                .map(|l| String::from_utf8_lossy(l).into_owned())
                .collect(),
            trouble,
        }
    }

    /// Both ways: where they differ, if they do.
    fn difference(&self, list: &[String]) -> Option<String> {
        let (outside, inside) = (self.run(list, Mode::Native), self.run(list, Mode::Sbox));
        if outside == inside {
            return None;
        }
        let both = outside.lines.iter().zip(&inside.lines);
        let at = both.take_while(|(a, b)| a == b).count();
        let call = list.get(at).map_or("the tree".to_owned(), |l| readable(l));
        let line = |answers: &Answers| answers.lines.get(at).cloned().unwrap_or_default();
        Some(format!(
            "{call}\n  natively: {} {}\n  in sbox:  {} {}",
            line(&outside),
            outside.trouble,
            line(&inside),
            inside.trouble
        ))
    }

    /// The shortest list that can be found by leaving calls out and still differs.
    fn shrink(&self, mut list: Vec<String>) -> Vec<String> {
        // A difference that comes and goes would take for ever.
        let until = Instant::now() + PATIENCE;
        let mut chunk = list.len() / 2;
        while chunk > 0 {
            let mut at = 0;
            while at < list.len() && Instant::now() < until {
                let mut shorter = list.clone();
                shorter.drain(at..(at + chunk).min(list.len()));
                if self.difference(&shorter).is_some() {
                    list = shorter;
                } else {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
        list
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Native,
    Sbox,
    Racing,
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

fn random() -> Random {
    number_from("SBOX_DIFF_SEED").map_or_else(Random::new, Random::from_seed)
}

fn uid() -> u32 {
    fs::metadata("/proc/self").expect("/proc").uid()
}

fn same_answers_and_same_tree() -> Test {
    let site = Site::new()?;
    let mut random = random();
    let ops = number_from("SBOX_DIFF_OPS").unwrap_or(20_000);
    let most = number_from("SBOX_DIFF_MOST").unwrap_or(1) as usize;
    let mut all = vec![];
    for _ in 0..ops.div_ceil(LIST) {
        // Each list has its own seed, so that it can be had again without those before it.
        let seed = random.below(1 << 40);
        all.extend(differs(&site, seed).map(|found| format!("list {seed}: {found}")));
        if all.len() >= most {
            break;
        }
    }
    assert!(
        all.is_empty(),
        "SBOX_DIFF_SEED={}\n{}",
        random.seed,
        all.join("\n")
    );
    Ok(())
}

fn differs(site: &Site, seed: u64) -> Option<String> {
    let mut random = Random::from_seed(seed);
    let home = site.home();
    let list = Generator::new(&mut random, home.to_str().expect("UTF-8"), uid()).list(LIST);
    let first = site.difference(&list)?;
    let list = site.shrink(list);
    let Some(found) = site.difference(&list) else {
        return Some(format!("only once:\n{first}"));
    };
    let mut text = format!("differ at {found}\nafter\n");
    for line in &list {
        writeln!(text, "  {}", readable(line)).expect("a string");
    }
    Some(text)
}

/// Lists that chance found, shortened.
const FOUND: &[&[&str]] = &[
    // `..` of a removed directory that may not be searched
    &[
        "0 n mkdir =b 448",
        "1 n chdir =b",
        "0 n chmod =b/. 292",
        "2 n rmdir =b",
        "1 n fchownat -100 =../e -1 0 0",
        "1 n mkdir =../made 448",
    ],
    // F_GETFL of a directory that may not be searched
    &[
        "0 n mkdir =b 448",
        "1 n chdir =b",
        "2 n chmod =b/.. 1444",
        "1 f3 openat -100 =../ 2228224 0",
        "1 f4 openat -100 =.. 196608 0",
    ],
    // a removed directory whose parent was moved
    &[
        "0 n mkdir =a 493",
        "0 n mkdir =a/b 493",
        "0 f0 openat -100 =a 65536 0",
        "2 f1 openat -100 =a/b 2097152 0",
        "0 n rename =a =../b",
        "0 n unlinkat 100 =b/ 512",
        "2 n fchdir 101",
        "2 n mkdir =../made 448",
    ],
];

fn what_once_differed() -> Test {
    let site = Site::new()?;
    for list in FOUND {
        let list: Vec<String> = list.iter().map(|line| written(line)).collect();
        if let Some(found) = site.difference(&list) {
            panic!("differ at {found}\nafter\n{list:#?}");
        }
    }
    Ok(())
}

/// Without an order nobody knows what the answers should be. But at the end there is one tree, and both sides see it.
fn races_leave_one_tree() -> Test {
    let site = Site::new()?;
    let mut random = random();
    let ops = number_from("SBOX_DIFF_OPS").unwrap_or(20_000);
    for _ in 0..ops.div_ceil(4 * LIST) {
        let seed = random.below(1 << 40);
        let mut of_list = Random::from_seed(seed);
        let home = site.home();
        let list =
            Generator::new(&mut of_list, home.to_str().expect("UTF-8"), uid()).list(4 * LIST);
        let inside = site.run(&list, Mode::Racing);
        let mut host = vec![];
        let mut margin: Vec<_> = home.ancestors().collect();
        margin.truncate(margin.len() - site.top().ancestors().count());
        margin.iter().rev().for_each(|dir| open_up(dir));
        walk(&home, "", &mut host);
        let inside_tree: Vec<&str> = inside
            .lines
            .iter()
            .filter_map(|l| l.strip_prefix("tree "))
            .collect();
        assert!(
            inside.trouble.is_empty() && inside_tree == host,
            "seed {}, list {seed}: {}\ninside {inside_tree:#?}\non the host {host:#?}",
            random.seed,
            inside.trouble
        );
    }
    Ok(())
}

/// Lines like the guest's, by the host's own eyes.
fn walk(dir: &Path, above: &str, lines: &mut Vec<String>) {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("read_dir")
        .map(|e| e.expect("entry").file_name())
        .collect();
    names.sort();
    for name in names {
        let path = dir.join(&name);
        let shown = format!("{above}/{}", escaped(name.as_bytes()));
        let meta = fs::symlink_metadata(&path).expect("stat");
        let mut line = format!(
            "\"{shown}\" {:06o} links {} uid {} gid {} size {}",
            meta.mode(),
            meta.nlink(),
            meta.uid(),
            meta.gid(),
            meta.len()
        );
        write!(line, "{}", time("mtime", meta.mtime(), meta.mtime_nsec())).expect("a string");
        if meta.is_file() {
            write!(line, "{}", time("atime", meta.atime(), meta.atime_nsec())).expect("a string");
        }
        if meta.is_symlink() {
            let text = fs::read_link(&path).expect("link");
            write!(line, " \"{}\"", escaped(text.as_os_str().as_bytes())).expect("a string");
        }
        lines.push(line);
        if meta.is_dir() {
            open_up(&path);
            walk(&path, &shown, lines);
            fs::set_permissions(&path, meta.permissions()).expect("chmod");
        }
    }
}

fn time(name: &str, sec: i64, nsec: i64) -> String {
    if sec < 1_000_000_000 {
        format!(" {name} {sec}.{nsec:09}")
    } else {
        format!(" {name} now")
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        if (33..127).contains(&byte) && byte != b'%' && byte != b'"' {
            text.push(byte.into());
        } else {
            write!(text, "%{byte:02x}").expect("a string");
        }
    }
    text
}

fn open_up(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("chmod");
}

/// Removes a tree whatever modes it has.
fn remove(dir: &Path) {
    let Ok(meta) = fs::symlink_metadata(dir) else {
        return;
    };
    if !meta.is_dir() {
        return fs::remove_file(dir).expect("unlink");
    }
    open_up(dir);
    for entry in fs::read_dir(dir).expect("read_dir") {
        remove(&entry.expect("entry").path());
    }
    fs::remove_dir(dir).expect("rmdir");
}
