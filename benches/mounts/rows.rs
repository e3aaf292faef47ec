//! The rows: the same work in each lane.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use sbox::vfs::cow::{Cow, CowDir, Sync};

use crate::Fallible;
use crate::measure;
use crate::trees::{FEW, Trees};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    Native,
    /// A writable bind mount.
    Bind,
    /// Copy-on-write; nothing has changed yet.
    Cow,
    /// Copy-on-write; the directory has ten thousand new names.
    Full,
    /// Copy-on-write over five layers, by the engine alone: the command line has no such mounts.
    Five,
}

impl Lane {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Bind => "bind",
            Self::Cow => "cow",
            Self::Full => "cow, 10,000 new names",
            Self::Five => "engine, 5 lowers",
        }
    }
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) lanes: Vec<(Lane, Work)>,
}

/// What is done in one turn.
pub(crate) enum Work {
    /// `micro CALL COUNT PATH`, natively or behind these words: by its own clock, for one call.
    Loop {
        flags: Option<Vec<OsString>>,
        call: &'static str,
        count: u64,
        path: PathBuf,
    },
    /// A shell script in a directory.
    Script {
        flags: Option<Vec<OsString>>,
        script: String,
        dir: PathBuf,
        /// What is emptied before.
        room: Option<PathBuf>,
        figure: Figure,
    },
    /// A call of the engine, so many times.
    Engine(Arc<CowDir>, Call),
}

#[derive(Clone, Copy)]
pub(crate) enum Figure {
    Wall,
    Cpu,
    /// What the script prints.
    Told,
}

/// A call of the engine.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Stat,
    Open,
    List,
}

const ENGINE_CALLS: u32 = 2000;

impl Work {
    /// Nanoseconds for one of what the row counts.
    pub(crate) fn run(&self, trees: &Trees) -> Fallible<f64> {
        match self {
            Self::Loop {
                flags,
                call,
                count,
                path,
            } => {
                let micro = trees.path("micro");
                let mut command = before(trees, flags.as_deref(), &micro);
                command.arg(call).arg(count.to_string()).arg(path);
                let outcome = measure::run(command, &trees.path("scratch"))?;
                outcome.succeeded()?;
                let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
                let word = text
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix("ns_per_call="));
                Ok(word.ok_or("no report line")?.parse()?)
            }
            Self::Script {
                flags,
                script,
                dir,
                room,
                figure,
            } => {
                if let Some(room) = room {
                    if room.exists() {
                        fs::remove_dir_all(room)?;
                    }
                    fs::create_dir(room)?;
                }
                let mut command = before(trees, flags.as_deref(), Path::new("/bin/sh"));
                command.args(["-ec", script]).current_dir(dir);
                let outcome = measure::run(command, &trees.path("scratch"))?;
                outcome.succeeded()?;
                Ok(match figure {
                    Figure::Wall => outcome.wall_ns,
                    Figure::Cpu => outcome.cpu_ns,
                    Figure::Told => String::from_utf8_lossy(&outcome.stdout).trim().parse()?,
                })
            }
            Self::Engine(dir, call) => {
                let start = Instant::now();
                for _ in 0..ENGINE_CALLS {
                    match call {
                        Call::Stat => drop(dir.stat(c"file000042")?),
                        Call::Open => drop(dir.open(c"file000042", libc::O_RDONLY, 0)?),
                        Call::List => {
                            let names = dir.list()?.entries().count();
                            if names < FEW {
                                return Err(format!("only {names} names").into());
                            }
                        }
                    }
                }
                Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(ENGINE_CALLS))
            }
        }
    }
}

fn before(trees: &Trees, flags: Option<&[OsString]>, program: &Path) -> Command {
    match flags {
        None => Command::new(program),
        Some(flags) => {
            let mut command = trees.sbox();
            command.args(flags).arg("--").arg(program);
            command
        }
    }
}

fn bind(dir: &Path) -> Vec<OsString> {
    vec!["--rw".into(), dir.into(), "--cwd".into(), dir.into()]
}

fn cow(dir: &Path) -> Vec<OsString> {
    let mut flags = named(dir, "");
    flags.push("--discard".into());
    flags
}

/// The layer that was made with the trees; anything else that is done in it stays.
fn named(dir: &Path, layer: &str) -> Vec<OsString> {
    let mut place = dir.as_os_str().to_owned();
    if !layer.is_empty() {
        let tree = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        place.push(format!("={layer}-{tree}"));
    }
    vec!["--cow".into(), place, "--cwd".into(), dir.into()]
}

pub(crate) fn all(trees: &Trees) -> Fallible<Vec<Row>> {
    let five = five_lowers(trees)?;
    let tree = trees.path("tree");
    let looks = [
        ("stat", "stat", 20_000, "dir/file000042", Call::Stat),
        (
            "open+close",
            "open-close",
            10_000,
            "dir/file000042",
            Call::Open,
        ),
        ("getdents of 100", "getdents", 3_000, "dir", Call::List),
    ];
    let mut rows: Vec<Row> = looks
        .into_iter()
        .map(|(name, call, count, path, engine)| {
            let look = |flags| Work::Loop {
                flags,
                call,
                count,
                path: tree.join(path),
            };
            let mut lanes = vec![
                (Lane::Native, look(None)),
                (Lane::Bind, look(Some(bind(&tree)))),
                (Lane::Cow, look(Some(cow(&tree)))),
                (Lane::Five, Work::Engine(Arc::clone(&five), engine)),
            ];
            // There the listing would be another.
            if !matches!(engine, Call::List) {
                lanes.push((Lane::Full, look(Some(named(&tree, "full")))));
            }
            Row { name, lanes }
        })
        .collect();
    rows.push(listing(trees, "list 10,000, half copied", "10000", 20));
    rows.push(listing(trees, "list 100,000, half copied", "100000", 3));
    rows.push(copy_up(trees));
    rows.push(build(trees, "unpack and build", Figure::Wall));
    rows.push(build(trees, "unpack and build, CPU", Figure::Cpu));
    rows.push(start(trees, "start in a tree of 100", "tree"));
    rows.push(start(trees, "start in a tree of 100,000", "whole-100000"));
    Ok(rows)
}

fn listing(trees: &Trees, name: &'static str, size: &str, count: u64) -> Row {
    let (whole, half) = (
        trees.path(&format!("whole-{size}")),
        trees.path(&format!("half-{size}")),
    );
    let list = |flags, path: &Path| Work::Loop {
        flags,
        call: "getdents",
        count,
        path: path.to_owned(),
    };
    let lanes = vec![
        (Lane::Native, list(None, &whole)),
        (Lane::Bind, list(Some(bind(&whole)), &whole)),
        (Lane::Cow, list(Some(named(&half, "half")), &half)),
    ];
    Row { name, lanes }
}

/// Opening for writing is what copies; natively, cp(1) does. By a clock inside: to drop the copy is no part of it.
fn copy_up(trees: &Trees) -> Row {
    let big = trees.path("big");
    let work = |flags, copy: String| Work::Script {
        flags,
        script: format!("start=$(date +%s%N); {copy}; echo $(($(date +%s%N) - start))"),
        dir: big.clone(),
        room: Some(trees.path("out/copy")),
        figure: Figure::Told,
    };
    let copied = trees.path("out/copy/file");
    let native = format!("cp --reflink=auto file {}", copied.display());
    let lanes = vec![
        (Lane::Native, work(None, native)),
        (Lane::Cow, work(Some(cow(&big)), ": >> file".into())),
    ];
    Row {
        name: "copy up 1 GiB",
        lanes,
    }
}

fn build(trees: &Trees, name: &'static str, figure: Figure) -> Row {
    let dir = trees.path("out/build");
    let tar = trees.path("project.tar");
    let work = |flags: Option<Vec<OsString>>| Work::Script {
        flags: flags.map(|mut flags| {
            flags.extend(["--ro".into(), tar.clone().into_os_string()]);
            flags
        }),
        script: format!(
            "tar xf {} && make -s -j2 && ./program | wc -l",
            tar.display()
        ),
        dir: dir.clone(),
        room: Some(dir.clone()),
        figure,
    };
    let lanes = vec![
        (Lane::Native, work(None)),
        (Lane::Bind, work(Some(bind(&dir)))),
        (Lane::Cow, work(Some(cow(&dir)))),
    ];
    Row { name, lanes }
}

fn start(trees: &Trees, name: &'static str, tree: &str) -> Row {
    let dir = trees.path(tree);
    let work = |flags| Work::Script {
        flags,
        script: ":".into(),
        dir: dir.clone(),
        room: None,
        figure: Figure::Wall,
    };
    let lanes = vec![
        (Lane::Native, work(None)),
        (Lane::Bind, work(Some(bind(&dir)))),
        (Lane::Cow, work(Some(cow(&dir)))),
    ];
    Row { name, lanes }
}

/// The tree over four others that have other names.
fn five_lowers(trees: &Trees) -> Fallible<Arc<CowDir>> {
    let mut lowers = Vec::new();
    for n in 0..4 {
        let lower = trees.path(&format!("lower{n}"));
        fs::create_dir_all(lower.join("dir"))?;
        fs::write(lower.join(format!("dir/other{n}")), "")?;
        lowers.push(OwnedFd::from(fs::File::open(lower)?));
    }
    lowers.push(fs::File::open(trees.path("tree"))?.into());
    let store = trees.path("five");
    fs::create_dir(&store)?;
    let store = fs::File::open(store)?;
    let tree = Cow::open(store.as_fd(), lowers, Sync::Never)?;
    Ok(tree.root().open_dir(c"dir")?)
}
