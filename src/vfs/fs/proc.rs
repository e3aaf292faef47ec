//! `/proc`: the sandbox's own processes, and the few host-wide files that programs rely on.
//!
//! Files are the host's, opened by the supervisor for processes of the sandbox only; magic links are
//! ours (`magic.rs`). What is not listed here does not exist.

use super::numbers::{INIT_FILES, shown};
use super::{
    IdentityFile, Magic, MapsFile, MountFile, Namespace, NumbersFile, SynthDir, SynthFile,
    SynthNode,
};
use crate::vfs::{Caller, Tasks};

/// A directory of `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcDir {
    /// `/proc`
    Root,
    /// `/proc/1`: sbox, where numbers are the view's own.
    Init,
    /// `/proc/TGID`; this and the following have the host's numbers.
    Group(i32),
    /// `/proc/TGID/task`
    Tasks(i32),
    /// `/proc/TGID/task/TID`
    Task(i32, i32),
    /// `/proc/TGID/fd`
    Fd(i32),
    /// `/proc/TGID/fdinfo`
    FdInfo(i32),
    /// `/proc/TGID/ns`
    Namespaces(i32),
    /// A directory of host-wide files, by index into the list of them.
    Host(usize),
}

/// Host-wide files that the view passes on; those of [`IdentityFile`] are its own.
const HOST_FILES: [&str; 26] = [
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
    "vmstat",
    "sys/fs/file-max",
    "sys/fs/nr_open",
    "sys/fs/pipe-max-size",
    "sys/kernel/cap_last_cap",
    "sys/kernel/domainname",
    "sys/kernel/hostname",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/entropy_avail",
    "sys/kernel/random/uuid",
    "sys/kernel/threads-max",
    "sys/kernel/version",
    "sys/vm/max_map_count",
    "sys/vm/mmap_min_addr",
    "sys/vm/overcommit_memory",
];

/// The directories of [`HOST_FILES`].
const HOST_DIRS: [&str; 5] = ["sys", "sys/fs", "sys/kernel", "sys/kernel/random", "sys/vm"];

/// Files of a process that the view passes on, proc(5).
const TASK_FILES: [&str; 27] = [
    "auxv",
    "cgroup",
    "cmdline",
    "comm",
    "coredump_filter",
    "cpuset",
    "environ",
    "gid_map",
    "io",
    "limits",
    "maps",
    "numa_maps",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "personality",
    "sched",
    "schedstat",
    "setgroups",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "timerslack_ns",
    "uid_map",
    "wchan",
];

/// Those of them that only a process has, and no thread below `task`.
const OF_PROCESS: [&str; 2] = ["coredump_filter", "timerslack_ns"];

/// What the kernel shows to those alone who might trace the process (ptrace(2), `PTRACE_MODE_READ`).
const OF_TRACERS: [&[u8]; 13] = [
    b"auxv",
    b"cwd",
    b"environ",
    b"exe",
    b"fd",
    b"fdinfo",
    b"io",
    b"maps",
    b"ns",
    b"numa_maps",
    b"root",
    b"smaps",
    b"smaps_rollup",
];

/// Files of a process that it may write to.
const WRITABLE: [&str; 5] = [
    "comm",
    "coredump_filter",
    "oom_adj",
    "oom_score_adj",
    "timerslack_ns",
];

impl ProcDir {
    pub(super) fn id(self) -> (u64, u64, u64) {
        match self {
            Self::Root => (4, 0, 0),
            Self::Group(tgid) => (5, tgid as u64, 0),
            Self::Tasks(tgid) => (6, tgid as u64, 0),
            Self::Task(tgid, tid) => (7, tgid as u64, tid as u64),
            Self::Fd(tgid) => (8, tgid as u64, 0),
            Self::FdInfo(tgid) => (9, tgid as u64, 0),
            Self::Host(index) => (10, index as u64, 0),
            Self::Init => (11, 0, 0),
            Self::Namespaces(tgid) => (12, tgid as u64, 0),
        }
    }

    /// The process that a name here would open: its files, memory and working directory, or what tells of them.
    pub(super) fn opens(self, name: &[u8]) -> Option<i32> {
        match self {
            Self::Group(tgid) | Self::Task(tgid, _) => OF_TRACERS.contains(&name).then_some(tgid),
            Self::Fd(tgid) | Self::FdInfo(tgid) | Self::Namespaces(tgid) => Some(tgid),
            Self::Root | Self::Tasks(_) | Self::Host(_) | Self::Init => None,
        }
    }

    /// Its path below the host's `/proc`.
    fn relative(self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Init => std::process::id().to_string(),
            Self::Group(tgid) => tgid.to_string(),
            Self::Tasks(tgid) => format!("{tgid}/task"),
            Self::Task(tgid, tid) => format!("{tgid}/task/{tid}"),
            Self::Fd(tgid) => format!("{tgid}/fd"),
            Self::FdInfo(tgid) => format!("{tgid}/fdinfo"),
            Self::Namespaces(tgid) => format!("{tgid}/ns"),
            Self::Host(index) => HOST_DIRS.get(index).copied().unwrap_or_default().to_owned(),
        }
    }

    /// Its path below the view's.
    pub(super) fn shown(self, tasks: Option<&dyn Tasks>) -> String {
        let relative = self.relative();
        match tasks {
            Some(tasks) => shown(&relative, tasks),
            None => relative,
        }
    }
}

/// A decimal number without sign or leading zeros, as `/proc` has them.
fn number(name: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(name).ok()?;
    let n = text.parse::<i32>().ok()?;
    (n >= 0 && n.to_string() == text).then_some(n)
}

pub(super) fn child(dir: ProcDir, name: &[u8], who: Caller<'_>) -> SynthNode {
    let Ok(text) = std::str::from_utf8(name) else {
        return SynthNode::Absent;
    };
    match dir {
        ProcDir::Root => match text {
            "mounts" => SynthNode::Link(b"self/mounts"[..].into()),
            "self" => link(who.tasks.process_told(who.tgid).to_string()),
            "thread-self" => {
                let [tgid, tid] = [who.tgid, who.tid].map(|host| who.tasks.process_told(host));
                link(format!("{tgid}/task/{tid}"))
            }
            _ => match number(name) {
                Some(1) if who.tasks.numbers().is_some() => {
                    SynthNode::Dir(SynthDir::Proc(ProcDir::Init))
                }
                Some(number) => who
                    .tasks
                    .process_meant(number)
                    .and_then(|tid| Some(group_or_task(group_of(tid, who)?, tid)))
                    .unwrap_or(SynthNode::Absent),
                None => host_child("", text, who),
            },
        },
        ProcDir::Init => match NumbersFile::of_init(text) {
            Some(file) => SynthNode::File(SynthFile::Numbers(
                file,
                format!("{}/{text}", ProcDir::Init.relative()),
            )),
            None => SynthNode::Absent,
        },
        ProcDir::Group(tgid) => match text {
            "task" => SynthNode::Dir(SynthDir::Proc(ProcDir::Tasks(tgid))),
            _ => task_child(tgid, &tgid.to_string(), text, who),
        },
        ProcDir::Tasks(tgid) => match number(name).and_then(|n| who.tasks.process_meant(n)) {
            Some(tid) if who.tasks.threads(tgid).contains(&tid) => {
                SynthNode::Dir(SynthDir::Proc(ProcDir::Task(tgid, tid)))
            }
            _ => SynthNode::Absent,
        },
        ProcDir::Task(tgid, tid) => {
            let relative = format!("{tgid}/task/{tid}");
            match text {
                "children" => file(format!("{relative}/children"), who),
                _ => task_child(tgid, &relative, text, who),
            }
        }
        ProcDir::Fd(tgid) => match number(name) {
            Some(fd) if open_descriptors(tgid).contains(&fd) => {
                SynthNode::Magic(Magic::Fd(tgid, fd))
            }
            _ => SynthNode::Absent,
        },
        ProcDir::FdInfo(tgid) => match number(name) {
            Some(fd) if open_descriptors(tgid).contains(&fd) => {
                file(format!("{tgid}/fdinfo/{fd}"), who)
            }
            _ => SynthNode::Absent,
        },
        ProcDir::Namespaces(tgid) => match Namespace::named(text) {
            Some(space) => SynthNode::Magic(Magic::Namespace(tgid, space)),
            None => SynthNode::Absent,
        },
        ProcDir::Host(index) => {
            let dir = HOST_DIRS.get(index).copied().unwrap_or_default();
            host_child(dir, text, who)
        }
    }
}

fn link(text: String) -> SynthNode {
    SynthNode::Link(text.into_bytes().into())
}

/// A file below the host's `/proc`, whose numbers are the view's.
fn file(relative: String, who: Caller<'_>) -> SynthNode {
    let numbers = NumbersFile::of(&relative);
    let numbers = numbers.filter(|file| file.is_always() || who.tasks.numbers().is_some());
    SynthNode::File(match numbers {
        Some(file) => SynthFile::Numbers(file, relative),
        None => SynthFile::Proc(relative),
    })
}

/// `/proc/TID` of a thread that is no leader exists too, though no listing shows it (proc(5)).
fn group_or_task(tgid: i32, tid: i32) -> SynthNode {
    let dir = if tgid == tid {
        ProcDir::Group(tgid)
    } else {
        ProcDir::Task(tgid, tid)
    };
    SynthNode::Dir(SynthDir::Proc(dir))
}

fn group_of(tid: i32, who: Caller<'_>) -> Option<i32> {
    let groups = who.tasks.groups();
    if groups.contains(&tid) {
        return Some(tid);
    }
    groups
        .into_iter()
        .find(|&tgid| who.tasks.threads(tgid).contains(&tid))
        .or_else(|| who.tasks.is_zombie(tid).then_some(tid))
}

fn task_child(tgid: i32, relative: &str, name: &str, who: Caller<'_>) -> SynthNode {
    if let Some(file) = MountFile::named(name) {
        return SynthNode::File(SynthFile::Mounts(file, tgid));
    }
    match name {
        "exe" => SynthNode::Magic(Magic::Exe(tgid)),
        "cwd" => SynthNode::Magic(Magic::Cwd(tgid)),
        "root" => SynthNode::Magic(Magic::Root(tgid)),
        "fd" => SynthNode::Dir(SynthDir::Proc(ProcDir::Fd(tgid))),
        "fdinfo" => SynthNode::Dir(SynthDir::Proc(ProcDir::FdInfo(tgid))),
        "ns" => SynthNode::Dir(SynthDir::Proc(ProcDir::Namespaces(tgid))),
        _ if TASK_FILES.contains(&name) => {
            let relative = format!("{relative}/{name}");
            match MapsFile::named(name) {
                Some(file) => SynthNode::File(SynthFile::Maps(file, relative)),
                None => file(relative, who),
            }
        }
        _ => SynthNode::Absent,
    }
}

fn host_child(dir: &str, name: &str, who: Caller<'_>) -> SynthNode {
    let path = if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    };
    if let Some(index) = HOST_DIRS.iter().position(|d| *d == path) {
        return SynthNode::Dir(SynthDir::Proc(ProcDir::Host(index)));
    }
    if let Some(file) = IdentityFile::at(&path) {
        return SynthNode::File(SynthFile::Identity(file));
    }
    if HOST_FILES.contains(&path.as_str()) {
        return file(path, who);
    }
    SynthNode::Absent
}

fn open_descriptors(tgid: i32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{tgid}/fd"));
    entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

pub(super) fn names(dir: ProcDir, who: Caller<'_>) -> Vec<(Vec<u8>, u8)> {
    let numbers = |list: Vec<i32>, kind| -> Vec<_> {
        list.into_iter()
            .map(|n| (n.to_string().into_bytes(), kind))
            .collect()
    };
    let told = |list: Vec<i32>| -> Vec<i32> {
        let mut told: Vec<i32> = list
            .into_iter()
            .map(|n| who.tasks.process_told(n))
            .collect();
        told.sort_unstable();
        told
    };
    match dir {
        ProcDir::Root => {
            let mut all = host_names("");
            all.push((b"mounts".to_vec(), libc::DT_LNK));
            all.push((b"self".to_vec(), libc::DT_LNK));
            all.push((b"thread-self".to_vec(), libc::DT_LNK));
            if who.tasks.numbers().is_some() {
                all.push((b"1".to_vec(), libc::DT_DIR));
            }
            let mut groups = who.tasks.groups();
            groups.extend(who.tasks.zombies());
            all.extend(numbers(told(groups), libc::DT_DIR));
            all
        }
        ProcDir::Init => INIT_FILES
            .iter()
            .map(|f| (f.as_bytes().to_vec(), libc::DT_REG))
            .collect(),
        ProcDir::Group(_) | ProcDir::Task(..) => {
            let is_thread = matches!(dir, ProcDir::Task(..));
            let files = TASK_FILES
                .iter()
                .filter(|f| !(is_thread && OF_PROCESS.contains(f)))
                .chain(&["mountinfo", "mounts"])
                .map(|f| (f.as_bytes().to_vec(), libc::DT_REG));
            let links = ["exe", "cwd", "root"]
                .iter()
                .map(|l| (l.as_bytes().to_vec(), libc::DT_LNK));
            let dirs = ["fd", "fdinfo", "ns"]
                .iter()
                .map(|d| (d.as_bytes().to_vec(), libc::DT_DIR));
            let own = match dir {
                ProcDir::Group(_) => (b"task".to_vec(), libc::DT_DIR),
                _ => (b"children".to_vec(), libc::DT_REG),
            };
            files.chain(links).chain(dirs).chain([own]).collect()
        }
        ProcDir::Tasks(tgid) => numbers(told(who.tasks.threads(tgid)), libc::DT_DIR),
        ProcDir::Fd(tgid) => numbers(open_descriptors(tgid), libc::DT_LNK),
        ProcDir::FdInfo(tgid) => numbers(open_descriptors(tgid), libc::DT_REG),
        ProcDir::Namespaces(tgid) => Namespace::names(tgid)
            .map(|name| (name.as_bytes().to_vec(), libc::DT_LNK))
            .collect(),
        ProcDir::Host(index) => host_names(HOST_DIRS.get(index).copied().unwrap_or_default()),
    }
}

fn host_names(dir: &str) -> Vec<(Vec<u8>, u8)> {
    let below = |path: &'static str| -> Option<&'static [u8]> {
        let rest = if dir.is_empty() {
            path
        } else {
            path.strip_prefix(dir)?.strip_prefix('/')?
        };
        (!rest.is_empty() && !rest.contains('/')).then_some(rest.as_bytes())
    };
    let files = HOST_FILES
        .iter()
        .filter_map(|f| Some((below(f)?.to_vec(), libc::DT_REG)));
    let dirs = HOST_DIRS
        .iter()
        .filter_map(|d| Some((below(d)?.to_vec(), libc::DT_DIR)));
    files.chain(dirs).collect()
}

pub(super) fn is_writable(relative: &str) -> bool {
    let name = relative.rsplit('/').next().unwrap_or_default();
    relative.as_bytes().first().is_some_and(u8::is_ascii_digit) && WRITABLE.contains(&name)
}
