//! Everything the rows work on, generated under one temporary directory:
//! `bin` (guests) and `data` (trees and sources), both read-only inside a sandbox, and `work`, writable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::Fallible;
use crate::measure;

pub(crate) const DIR_ENTRIES: usize = 10_000;
const GIT_DIRS: usize = 100;
const GIT_FILES_PER_DIR: usize = 100;
const C_FILES: usize = 50;

/// What `git status --porcelain` has to say about the generated tree.
pub(crate) const GIT_STATUS: &str = " M d042/f007.txt\n?? untracked.txt\n";
/// What the generated C program prints.
pub(crate) const C_PROGRAM_SAYS: &str = "1225\n"; // 0 + 1 + … + 49
/// What the generated crate's program prints.
pub(crate) const CRATE_SAYS: &str = "25502500\n"; // 1³ + 2³ + … + 100³

/// The trees `find` walks: a part of /usr that keeps the slowest tracer under ten seconds.
pub(crate) const FIND_ROOTS: [&str; 2] = ["/usr/share/doc", "/usr/include"];

pub(crate) struct Fixtures {
    base: TempDir,
    /// Lines `find` prints natively.
    pub(crate) find_lines: usize,
    pub(crate) cargo: CargoPlaces,
}

/// Where this user's cargo lives and what of it a sandbox has to show.
pub(crate) struct CargoPlaces {
    pub(crate) home: PathBuf,
    pub(crate) cargo_home: PathBuf,
    pub(crate) rustup_home: PathBuf,
}

impl CargoPlaces {
    fn find() -> Self {
        let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let home = dir("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let cargo_home = dir("CARGO_HOME").unwrap_or_else(|| home.join(".cargo"));
        let rustup_home = dir("RUSTUP_HOME").unwrap_or_else(|| home.join(".rustup"));
        Self {
            home,
            cargo_home,
            rustup_home,
        }
    }
}

impl Fixtures {
    /// Builds what the wanted rows need; guests always.
    pub(crate) fn build(wants: impl Fn(&str) -> bool) -> Fallible<Self> {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent)?;
        let base = tempfile::Builder::new()
            .prefix("boundary-")
            .tempdir_in(parent)?;
        let mut fixtures = Self {
            base,
            find_lines: 0,
            cargo: CargoPlaces::find(),
        };
        for dir in ["bin", "data", "work", "scratch"] {
            fs::create_dir(fixtures.base.path().join(dir))?;
        }
        fixtures.compile_guests()?;
        fs::write(fixtures.data("4k"), [b'x'; 4096])?;
        if wants("getdents") {
            fixtures.make_wide_directory()?;
        }
        if wants("git-status") {
            make_git_tree(&fixtures.data("tree"))?;
        }
        if wants("make") {
            make_c_project(&fixtures.data("cproject"))?;
        }
        if wants("cargo-build") {
            make_crate(&fixtures.data("crate"))?;
        }
        if wants("find") {
            let listed = Command::new("find")
                .args(FIND_ROOTS)
                .arg("-xdev")
                .output()?;
            fixtures.find_lines = listed.stdout.split_inclusive(|byte| *byte == b'\n').count();
        }
        Ok(fixtures)
    }

    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.base.path().join("bin").join(name)
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.base.path().join("data").join(name)
    }

    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.base.path().join("work").join(name)
    }

    /// `bin` and `data`.
    pub(crate) fn readable(&self) -> [PathBuf; 2] {
        [self.base.path().join("bin"), self.base.path().join("data")]
    }

    pub(crate) fn writable(&self) -> PathBuf {
        self.base.path().join("work")
    }

    /// For the harness alone; no sandbox sees it.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.base.path().join("scratch")
    }

    fn compile_guests(&self) -> Fallible<()> {
        for guest in [
            "micro",
            "burn",
            "crowd",
            "noop",
            "notify_floor",
            "plain_supervisor",
        ] {
            compile(guest, &self.bin(guest), true)?;
        }
        compile("noop", &self.bin("noop_dynamic"), false)
    }

    fn make_wide_directory(&self) -> Fallible<()> {
        fs::create_dir(self.data("wide"))?;
        for i in 0..DIR_ENTRIES {
            fs::write(self.data("wide").join(format!("entry-{i:05}")), "")?;
        }
        Ok(())
    }
}

/// Whether the smoke run can compile its guests at all.
pub(crate) fn can_compile() -> bool {
    let Ok(dir) = tempfile::tempdir() else {
        return false;
    };
    compile("noop", &dir.path().join("noop"), true).is_ok()
}

fn compile(guest: &str, to: &Path, fixed: bool) -> Fallible<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/guests/bench");
    let mut cc = Command::new("cc");
    cc.arg("-O2")
        .args(fixed.then_some("-static"))
        .arg("-o")
        .arg(to)
        .arg(sources.join(guest).with_extension("c"));
    run_or_say(cc)
}

fn run_or_say(mut command: Command) -> Fallible<()> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}: {}",
        output.status,
        measure::complaint(&output.stderr)
    )
    .into())
}

/// The variables under which git looks at nobody's configuration but the repository's.
pub(crate) const GIT_ENV: [(&str, &str); 2] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
];

fn git(tree: &Path, args: &[&str]) -> Fallible<()> {
    let mut git = Command::new("git");
    git.envs(GIT_ENV)
        .arg("-C")
        .arg(tree)
        .args(["-c", "user.name=bench", "-c", "user.email=bench@localhost"])
        .args(args);
    run_or_say(git)
}

/// 10,000 committed files, one of them changed, and one file git does not know.
fn make_git_tree(tree: &Path) -> Fallible<()> {
    for d in 0..GIT_DIRS {
        let dir = tree.join(format!("d{d:03}"));
        fs::create_dir_all(&dir)?;
        for f in 0..GIT_FILES_PER_DIR {
            fs::write(
                dir.join(format!("f{f:03}.txt")),
                format!("file {f} of directory {d}\n").repeat(8),
            )?;
        }
    }
    git(tree, &["init", "-q"])?;
    git(tree, &["add", "."])?;
    git(
        tree,
        &["-c", "gc.auto=0", "commit", "-q", "-m", "All files"],
    )?;
    // git distrusts an index that is as young as the files: wait, then have it written anew.
    thread::sleep(Duration::from_millis(1100));
    git(tree, &["update-index", "-q", "--really-refresh"])?;
    fs::write(tree.join("d042/f007.txt"), "changed\n")?;
    Ok(fs::write(tree.join("untracked.txt"), "new\n")?)
}

/// 50 translation units of some substance and a program that calls all of them. Built into `$(OUT)`.
fn make_c_project(dir: &Path) -> Fallible<()> {
    fs::create_dir(dir)?;
    for i in 0..C_FILES {
        fs::write(dir.join(format!("part{i:02}.c")), c_source(i))?;
    }
    let calls: String = (0..C_FILES)
        .map(|i| format!("\tsum += part{i:02}(1);\n"))
        .collect();
    let prototypes: String = (0..C_FILES)
        .map(|i| format!("int part{i:02}(int);\n"))
        .collect();
    fs::write(
        dir.join("parts.h"),
        format!("#ifndef PARTS_H\n#define PARTS_H\n{prototypes}#endif\n"),
    )?;
    let main = "#include <stdio.h>\n#include \"parts.h\"\n\nint main(void)\n{\n\tint sum = 0;\n\n";
    fs::write(
        dir.join("main.c"),
        format!("{main}{calls}\tprintf(\"%d\\n\", sum);\n\treturn 0;\n}}\n"),
    )?;
    Ok(fs::write(dir.join("Makefile"), MAKEFILE)?)
}

const MAKEFILE: &str = "\
SRC := $(wildcard *.c)
OBJ := $(SRC:%.c=$(OUT)/%.o)

$(OUT)/program: $(OBJ)
\tcc -o $@ $^

$(OUT)/%.o: %.c parts.h
\tcc -O1 -c -o $@ $<
";

fn c_source(i: usize) -> String {
    let helpers: String = (0..6)
        .map(|h| {
            format!(
                "static int helper{h}(const char *text, int n)\n{{\n\tchar buf[64];\n\tint sum = 0;\n\n\
                 \tsnprintf(buf, sizeof(buf), \"%s-%d\", text, n);\n\tfor (char *p = buf; *p; p++)\n\
                 \t\tsum += isalpha((unsigned char)*p) ? tolower(*p) * {h} : (int)strtol(p, NULL, 10);\n\
                 \treturn sum;\n}}\n\n"
            )
        })
        .collect();
    let calls: String = (0..6)
        .map(|h| format!("\tsum += helper{h}(\"part\", n);\n"))
        .collect();
    format!(
        "#include <ctype.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"parts.h\"\n\n\
         {helpers}int part{i:02}(int n)\n{{\n\tint sum = 0;\n\n{calls}\treturn sum == -1 ? sum : {i} * n;\n}}\n"
    )
}

/// A crate without dependencies: a program of five modules.
fn make_crate(dir: &Path) -> Fallible<()> {
    fs::create_dir_all(dir.join("src"))?;
    // The empty table keeps cargo from looking for a workspace further up.
    let manifest =
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n";
    fs::write(dir.join("Cargo.toml"), manifest)?;
    let names = ["one", "two", "three", "four", "five"];
    let modules: String = names.iter().map(|name| format!("mod {name};\n")).collect();
    let sum: Vec<String> = names
        .iter()
        .map(|name| format!("{name}::cubes(1, 100)"))
        .collect();
    let body = format!(
        "fn main() {{\n    let all = [{}];\n    println!(\"{{}}\", all[0]);\n}}\n",
        sum.join(", ")
    );
    fs::write(dir.join("src/main.rs"), format!("{modules}\n{body}"))?;
    for name in names {
        fs::write(
            dir.join("src").join(name).with_extension("rs"),
            CRATE_MODULE,
        )?;
    }
    let mut lock = Command::new("cargo");
    lock.args(["generate-lockfile", "--offline"])
        .current_dir(dir);
    run_or_say(lock)
}

const CRATE_MODULE: &str = "\
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
struct Table {
    cubes: BTreeMap<u64, u64>,
}

impl Table {
    fn add(&mut self, n: u64) {
        self.cubes.insert(n, n * n * n);
    }

    fn total(&self) -> u64 {
        self.cubes.values().copied().sum()
    }
}

pub fn cubes(from: u64, to: u64) -> u64 {
    let mut table = Table::default();
    (from..=to).for_each(|n| table.add(n));
    if format!(\"{table:?}\").is_empty() { 0 } else { table.total() }
}
";
