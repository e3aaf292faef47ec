//! Files of `/proc` that tell numbers of processes, proc(5): the kernel's text, with the view's numbers. And those of process 1,
//! which is sbox: they tell no more than that it is there.

use super::made::made;
use crate::sys;
use crate::vfs::{Tasks, Vfs};
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

/// A file that tells numbers of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumbersFile {
    /// `/proc/PID/stat`
    Stat,
    /// `/proc/PID/status`
    Status,
    /// `/proc/PID/sched`
    Sched,
    /// `/proc/PID/task/TID/children`
    Children,
    /// `/proc/PID/fdinfo/N`
    FdInfo,
    /// `/proc/PID/cgroup`, `/proc/PID/cpuset`: groups have names, and the view has but one, as a namespace of its own would
    /// (cgroup_namespaces(7)). What the file says.
    Group(&'static str),
    /// `/proc/loadavg`
    LoadAvg,
    /// `/proc/sys/kernel/pid_max`
    PidMax,
    /// A file of process 1, by its place in the list of them.
    Init(usize),
}

/// Files of process 1.
pub(super) const INIT_FILES: [&str; 5] = ["cmdline", "comm", "stat", "statm", "status"];

impl NumbersFile {
    /// The file of this path below `/proc`; `None` if it tells no numbers.
    pub(super) fn of(relative: &str) -> Option<Self> {
        match relative {
            "loadavg" => return Some(Self::LoadAvg),
            "sys/kernel/pid_max" => return Some(Self::PidMax),
            _ => {}
        }
        let mut parts = relative.rsplit('/');
        match (parts.next()?, parts.next()?) {
            (_, "fdinfo") => Some(Self::FdInfo),
            ("stat", _) => Some(Self::Stat),
            ("status", _) => Some(Self::Status),
            ("sched", _) => Some(Self::Sched),
            ("children", _) => Some(Self::Children),
            ("cgroup", _) => Some(Self::Group("0::/\n")),
            ("cpuset", _) => Some(Self::Group("/\n")),
            _ => None,
        }
    }

    /// True if it is made here also where the view has the host's numbers.
    pub(super) fn is_always(self) -> bool {
        matches!(self, Self::Group(_))
    }

    pub(super) fn of_init(name: &str) -> Option<Self> {
        INIT_FILES.iter().position(|f| *f == name).map(Self::Init)
    }
}

/// A path below `/proc` with the view's numbers: those of the process, and of a thread behind `task`.
pub(super) fn shown(relative: &str, tasks: &dyn Tasks) -> String {
    let mut out = String::with_capacity(relative.len());
    let mut names_task = true;
    for (i, part) in relative.split('/').enumerate() {
        let slash = if i > 0 { "/" } else { "" };
        // Writing to a String cannot fail.
        let _ = match part.parse::<i32>() {
            Ok(host) if names_task => write!(out, "{slash}{}", tasks.process_told(host)),
            _ => write!(out, "{slash}{part}"),
        };
        names_task = part == "task";
    }
    out
}

impl Vfs {
    /// The host's file `relative` below `/proc`, with numbers of the view, as of now: `caller` waits for our answer, and is told that
    /// it runs.
    pub(super) fn open_numbers(
        &self,
        file: NumbersFile,
        relative: &str,
        caller: Option<i32>,
    ) -> sys::Result<OwnedFd> {
        if let NumbersFile::Group(text) = file {
            // ENOENT for whoever has ended.
            self.host_text(relative)?;
            return made(&self.shown(relative), |out| out.write_all(text.as_bytes()));
        }
        let tasks = self.tasks().ok_or(sys::Errno::ENOENT)?;
        let text = match file {
            NumbersFile::Init(which) => {
                let name = INIT_FILES.get(which).copied().unwrap_or_default();
                init_text(
                    name,
                    &self.host_text(&format!("{}/stat", std::process::id()))?,
                )
            }
            _ => {
                let text = retold(file, &self.host_text(relative)?, tasks);
                let text = untraced(file, text, || {
                    thread_of(relative).is_some_and(|tid| tasks.is_stopped(tid))
                });
                match caller.is_some_and(|tid| is_of(relative, tid)) {
                    true => running(file, text),
                    false => text,
                }
            }
        };
        made(&shown(relative, tasks), |out| {
            out.write_all(text.as_bytes())
        })
    }

    /// A path below the host's `/proc` as the view has it.
    pub(super) fn shown(&self, relative: &str) -> String {
        match self.tasks() {
            Some(tasks) => shown(relative, tasks),
            None => relative.to_owned(),
        }
    }

    fn host_text(&self, relative: &str) -> sys::Result<String> {
        let name = CString::new(relative).map_err(|_| sys::Errno::ENOENT)?;
        let host = sys::fs::openat(self.proc_root.as_fd(), &name, libc::O_RDONLY, 0)?;
        let mut text = Vec::with_capacity(2048);
        File::from(host).read_to_end(&mut text).map_err(|e| {
            e.raw_os_error()
                .map_or(sys::Errno::EIO, sys::Errno::from_raw)
        })?;
        // Names of processes are any bytes; here nobody needs them to the last one.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// True for a file of this thread, or of the process that it leads.
fn is_of(relative: &str, tid: i32) -> bool {
    thread_of(relative) == Some(tid)
}

/// Whose file this is, by the host's number.
fn thread_of(relative: &str) -> Option<i32> {
    relative.rsplit('/').nth(1).and_then(number)
}

/// What the kernel calls stopped by a tracer is stopped by a signal, or runs: it waits for us.
fn untraced(file: NumbersFile, text: String, is_stopped: impl Fn() -> bool) -> String {
    let state = || match is_stopped() {
        true => ("T", "T (stopped)"),
        false => ("R", "R (running)"),
    };
    match file {
        NumbersFile::Stat => match text.rsplit_once(") t") {
            Some((name, rest)) => format!("{name}) {}{rest}", state().0),
            None => text,
        },
        NumbersFile::Status if text.contains(TRACED) => {
            text.replacen(TRACED, &format!("\nState:\t{}\n", state().1), 1)
        }
        _ => text,
    }
}

const TRACED: &str = "\nState:\tt (tracing stop)\n";

/// Its text, where it doesn't sleep.
fn running(file: NumbersFile, text: String) -> String {
    match file {
        NumbersFile::Stat => match text.rsplit_once(") ") {
            Some((name, rest)) if rest.starts_with(['S', 'D']) => {
                format!("{name}) R{}", rest.get(1..).unwrap_or_default())
            }
            _ => text,
        },
        NumbersFile::Status => {
            ["S (sleeping)", "D (disk sleep)"]
                .iter()
                .fold(text, |text, asleep| {
                    let asleep = format!("\nState:\t{asleep}\n");
                    text.replacen(&asleep, "\nState:\tR (running)\n", 1)
                })
        }
        _ => text,
    }
}

/// The kernel's text with the view's numbers.
fn retold(file: NumbersFile, text: &str, tasks: &dyn Tasks) -> String {
    match file {
        NumbersFile::Stat => stat(text, tasks).unwrap_or_default(),
        NumbersFile::Status => lines(text, |key| status_number(key, tasks)),
        NumbersFile::FdInfo => fdinfo(text, tasks),
        NumbersFile::Group(text) => text.to_owned(),
        NumbersFile::Sched => sched(text, tasks).unwrap_or_default(),
        NumbersFile::Children => {
            let mut told: Vec<i32> = text
                .split_whitespace()
                .filter_map(|n| n.parse().ok())
                .map(|n| tasks.process_told(n))
                .collect();
            told.sort_unstable();
            told.iter().map(|n| format!("{n} ")).collect()
        }
        NumbersFile::LoadAvg => {
            let (last, _) = tasks.numbers().unwrap_or_default();
            match text.trim_end().rsplit_once(' ') {
                Some((load, _)) => format!("{load} {last}\n"),
                None => String::new(),
            }
        }
        NumbersFile::PidMax => format!("{}\n", tasks.numbers().unwrap_or_default().1),
        NumbersFile::Init(_) => String::new(),
    }
}

/// `pid (name) state ppid pgrp session tty_nr tpgid …`; a name may have anything in it, parentheses too.
fn stat(text: &str, tasks: &dyn Tasks) -> Option<String> {
    let (pid, rest) = text.split_once(' ')?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.splitn(7, ' ');
    let mut field = || fields.next();
    let (state, ppid, pgrp, session) = (field()?, number(field()?)?, field()?, field()?);
    let (tty, tpgid, rest) = (field()?, number(field()?)?, field()?);
    let tpgid = match tpgid {
        -1 => -1,
        group => tasks.group_told(group),
    };
    Some(format!(
        "{} {name}) {state} {} {} {} {tty} {tpgid} {rest}",
        tasks.process_told(number(pid)?),
        tasks.process_told(ppid),
        tasks.group_told(number(pgrp)?),
        tasks.session_told(number(session)?),
    ))
}

fn number(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// How a number of this line is told; `None` for lines without.
fn status_number<'t>(key: &str, tasks: &'t dyn Tasks) -> Option<Box<dyn Fn(i32) -> i32 + 't>> {
    match key {
        "Tgid" | "Pid" | "PPid" | "NStgid" | "NSpid" => Some(Box::new(|n| tasks.process_told(n))),
        "NSpgid" => Some(Box::new(|n| tasks.group_told(n))),
        "NSsid" => Some(Box::new(|n| tasks.session_told(n))),
        // sbox traces them, and is none that could be meant. A NUMA group is called after a thread.
        "TracerPid" | "Ngid" => Some(Box::new(|_| 0)),
        _ => None,
    }
}

/// `Key:\tnumber`, and more numbers for inner namespaces, of which there are none.
fn lines<'t>(text: &str, told: impl Fn(&str) -> Option<Box<dyn Fn(i32) -> i32 + 't>>) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let parsed = line.split_once(':').and_then(|(key, value)| {
            let first = number(value.split_whitespace().next()?)?;
            Some((key, told(key)?(first)))
        });
        let _ = match parsed {
            Some((key, told)) => writeln!(out, "{key}:\t{told}"),
            None => write!(out, "{line}"),
        };
    }
    out
}

/// A pidfd's process, and who has locked the file.
fn fdinfo(text: &str, tasks: &dyn Tasks) -> String {
    let text = lines(text, |key| match key {
        // -1: it has been waited for.
        "Pid" | "NSpid" => Some(Box::new(|n| if n > 0 { tasks.process_told(n) } else { n })),
        _ => None,
    });
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let _ = match lock_owner(line) {
            Some((at, pid)) => {
                let (before, rest) = line.split_at(at);
                let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                write!(out, "{before}{}{after}", tasks.process_told(pid))
            }
            None => write!(out, "{line}"),
        };
    }
    out
}

/// `lock:\t1: POSIX  ADVISORY  WRITE 23105 fe:00:1234 0 EOF`: where the owner stands, and who it is.
fn lock_owner(line: &str) -> Option<(usize, i32)> {
    line.strip_prefix("lock:")?;
    let (before, rest) = ["READ ", "WRITE ", "UNLCK "].iter().find_map(|kind| {
        line.split_once(kind)
            .map(|(a, b)| (a.len() + kind.len(), b))
    })?;
    let pid = number(rest.split(' ').next()?)?;
    (pid > 0).then_some((before, pid))
}

/// `name (23105, #threads: 1)` stands above the rest.
fn sched(text: &str, tasks: &dyn Tasks) -> Option<String> {
    let (head, rest) = text.split_once('\n')?;
    let (name, head) = head.rsplit_once(" (")?;
    let (pid, head) = head.split_once(',')?;
    let pid = tasks.process_told(number(pid)?);
    Some(format!("{name} ({pid},{head}\n{rest}"))
}

/// What process 1 tells of itself; `stat` is the host's of sbox, for the time at which it has started.
fn init_text(name: &str, stat: &str) -> String {
    let started = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(19))
        .unwrap_or("0");
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    match name {
        "cmdline" => "sbox\0".into(),
        "comm" => "sbox\n".into(),
        "statm" => "0 0 0 0 0 0 0\n".into(),
        // 52 fields. Of those that aren't known many are 0, one has no limit, and 17 is SIGCHLD.
        "stat" => format!(
            "1 (sbox) S 0 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 0 0 {} 0 0 0 0 0 0 0 0 0 0 0 0 17{}\n",
            u64::MAX,
            " 0".repeat(14)
        ),
        _ => format!(
            "Name:\tsbox\nState:\tS (sleeping)\nTgid:\t1\nNgid:\t0\nPid:\t1\nPPid:\t0\nTracerPid:\t0\n\
             Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nFDSize:\t0\nGroups:\t \n\
             NStgid:\t1\nNSpid:\t1\nNSpgid:\t1\nNSsid:\t1\nThreads:\t1\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Dir;
    use std::sync::Arc;

    /// Processes are counted from 1000, groups from 2000, sessions from 3000.
    struct Some3;

    impl Tasks for Some3 {
        fn groups(&self) -> Vec<i32> {
            Vec::new()
        }
        fn zombies(&self) -> Vec<i32> {
            Vec::new()
        }
        fn is_zombie(&self, _: i32) -> bool {
            false
        }
        fn is_stopped(&self, _: i32) -> bool {
            false
        }
        fn threads(&self, _: i32) -> Vec<i32> {
            Vec::new()
        }
        fn cwd(&self, _: i32) -> Option<Arc<Dir>> {
            None
        }
        fn is_open_to(&self, _: i32, _: i32) -> bool {
            true
        }
        fn exe(&self, _: i32) -> Option<Vec<u8>> {
            None
        }
        fn descriptor(&self, _: i32, _: i32) -> sys::Result<OwnedFd> {
            Err(sys::Errno::EBADF)
        }
        fn process_told(&self, host: i32) -> i32 {
            host - 1000
        }
        fn group_told(&self, host: i32) -> i32 {
            host - 2000
        }
        fn session_told(&self, host: i32) -> i32 {
            host - 3000
        }
        fn process_meant(&self, number: i32) -> Option<i32> {
            Some(number + 1000)
        }
        fn numbers(&self) -> Option<(i32, i32)> {
            Some((9, 32768))
        }
    }

    fn told(path: &str, text: &str) -> String {
        retold(NumbersFile::of(path).unwrap(), text, &Some3)
    }

    #[test]
    fn files_tell_the_views_numbers() {
        for (path, host, view) in [
            (
                "1007/stat",
                "1007 (a) b) (c) S 1002 2002 3002 34816 2002 4194560 1007 0\n",
                "7 (a) b) (c) S 2 2 2 34816 2 4194560 1007 0\n",
            ),
            (
                "1007/task/1008/stat",
                "1008 (x) R 1002 2002 3002 0 -1 0\n",
                "8 (x) R 2 2 2 0 -1 0\n",
            ),
            (
                "1007/status",
                "Name:\tPid: 5\nUmask:\t0022\nTgid:\t1007\nNgid:\t1007\nPid:\t1008\nPPid:\t1002\nTracerPid:\t1001\nUid:\t0\t0\t0\t0\nNSpid:\t1008\t7\nNSpgid:\t2002\nNSsid:\t3002\nThreads:\t2\n",
                "Name:\tPid: 5\nUmask:\t0022\nTgid:\t7\nNgid:\t0\nPid:\t8\nPPid:\t2\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nNSpid:\t8\nNSpgid:\t2\nNSsid:\t2\nThreads:\t2\n",
            ),
            (
                "1007/fdinfo/3",
                "pos:\t0\nflags:\t02000002\nPid:\t1009\nNSpid:\t1009\t4\n",
                "pos:\t0\nflags:\t02000002\nPid:\t9\nNSpid:\t9\n",
            ),
            ("1007/fdinfo/3", "Pid:\t-1\n", "Pid:\t-1\n"),
            (
                "1007/fdinfo/4",
                "lock:\t1: POSIX  ADVISORY  WRITE 1009 fe:00:1234 0 EOF\nlock:\t2: OFDLCK ADVISORY  READ -1 fe:00:1 0 1\n",
                "lock:\t1: POSIX  ADVISORY  WRITE 9 fe:00:1234 0 EOF\nlock:\t2: OFDLCK ADVISORY  READ -1 fe:00:1 0 1\n",
            ),
            (
                "1007/sched",
                "a (1, 2) (1007, #threads: 1)\n---\nx : 1\n",
                "a (1, 2) (7, #threads: 1)\n---\nx : 1\n",
            ),
            ("1007/task/1007/children", "1011 1010 ", "10 11 "),
            (
                "loadavg",
                "0.00 0.01 0.05 1/123 23105\n",
                "0.00 0.01 0.05 1/123 9\n",
            ),
            ("sys/kernel/pid_max", "4194304\n", "32768\n"),
        ] {
            assert_eq!(told(path, host), view, "{path}");
        }
        for other in [
            "1007/maps",
            "stat",
            "uptime",
            "1007/cmdline",
            "sys/kernel/ostype",
        ] {
            assert_eq!(NumbersFile::of(other), None, "{other}");
        }
    }

    #[test]
    fn who_asks_runs() {
        for (file, text, told) in [
            (NumbersFile::Stat, "7 (a) S b) S 1 1", "7 (a) S b) R 1 1"),
            (NumbersFile::Stat, "7 (a) T 1 1", "7 (a) T 1 1"),
            (
                NumbersFile::Status,
                "Name:\tx\nState:\tS (sleeping)\nTgid:\t7\n",
                "Name:\tx\nState:\tR (running)\nTgid:\t7\n",
            ),
            (
                NumbersFile::Status,
                "Name:\tx\nState:\tD (disk sleep)\n",
                "Name:\tx\nState:\tR (running)\n",
            ),
        ] {
            assert_eq!(running(file, text.into()), told);
        }
        assert!(is_of("1007/stat", 1007) && is_of("1007/task/1008/stat", 1008));
        assert!(!is_of("1007/task/1008/stat", 1007) && !is_of("loadavg", 1007));
    }

    #[test]
    fn paths_are_shown_with_the_views_numbers() {
        for (host, view) in [
            ("1007/task/1008/stat", "7/task/8/stat"),
            ("1007/fd/1008", "7/fd/1008"),
            ("sys/kernel", "sys/kernel"),
            ("", ""),
        ] {
            assert_eq!(shown(host, &Some3), view);
        }
    }

    #[test]
    fn process_1_has_all_fields() {
        let stat = init_text(
            "stat",
            "77 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 4 0 4711 0 0",
        );
        let fields: Vec<&str> = stat.split_whitespace().collect();
        assert_eq!(fields.len(), 52);
        assert_eq!((fields[21], fields[37]), ("4711", "17"));
    }

    #[test]
    fn nobody_is_seen_to_be_traced() {
        let stat = "7 (a) t) t 1 2 3";
        for (stopped, state) in [(true, "T (stopped)"), (false, "R (running)")] {
            let told = |file, text: &str| untraced(file, text.to_owned(), || stopped);
            let letter = &state[..1];
            assert_eq!(
                told(NumbersFile::Stat, stat),
                format!("7 (a) t) {letter} 1 2 3")
            );
            let status = format!("Name:\tt{TRACED}Pid:\t7\n");
            let wanted = format!("Name:\tt\nState:\t{state}\nPid:\t7\n");
            assert_eq!(told(NumbersFile::Status, &status), wanted);
            let asleep = "7 (a) S 1 2 3";
            assert_eq!(told(NumbersFile::Stat, asleep), asleep);
        }
    }
}
