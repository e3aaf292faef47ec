//! execve(2): which program, by which interpreter.
//!
//! The kernel is handed a descriptor, never a path: the program is resolved in the view and opened
//! here. `#!` lines are read here, since their paths mean files of the view. The ELF interpreter
//! (`PT_INTERP`) is opened by the kernel by its host path; where that isn't the file that the view has at
//! that path, an image of the program is run that names the right one (`vfs::image`). In any case the tracer
//! compares what was loaded with what was approved before the first instruction runs.

use super::args::{AtFlags, DirFd, OptPath, Ptr, UserPath};
use super::elf;
use super::path::{check_flags, follow, named};
use super::plan::{Act, Cx, Errno, Plan};
use crate::policy::Access;
use crate::policy::arguments::{Limit, Reach};
use crate::policy::within::Within;
use crate::sys;
use crate::task::{ArgumentLimit, Argv, ExecPlan, read_strings};
use crate::vfs::{Follow, Found, OwnLoader, Place};
use std::ffi::{CStr, CString};
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Scripts whose interpreter is a script: the kernel allows five changes of image (ELOOP beyond).
const MAX_SCRIPTS: usize = 5;

/// What the kernel reads of a program to tell its format (`BINPRM_BUF_SIZE`, Linux 5.1).
const HEAD: usize = 256;

/// execve(2).
pub fn execve<'a>(
    cx: &Cx<'a>,
    path: UserPath<'a>,
    argv: Ptr,
    envp: Ptr,
) -> Result<Plan<'a>, Errno> {
    let path_at = cx.registers.first().copied().unwrap_or(0);
    plan(
        cx,
        DirFd(libc::AT_FDCWD),
        path,
        path_at,
        argv,
        envp,
        AtFlags(0),
    )
}

/// execveat(2).
pub fn execveat<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    argv: Ptr,
    envp: Ptr,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    check_flags(flags.0, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW)?;
    let path_at = cx.registers.get(1).copied().unwrap_or(0);
    plan(cx, dir, path, path_at, argv, envp, flags)
}

/// A program on its way to being run.
struct Program<'a> {
    file: std::fs::File,
    stat: libc::stat,
    rule: Option<crate::policy::RuleId>,
    limits: &'a [Limit],
    within: Within,
    exe: Vec<u8>,
    file_name: Vec<u8>,
}

fn plan<'a>(
    cx: &Cx<'a>,
    dir: DirFd,
    path: UserPath<'a>,
    path_at: u64,
    argv: Ptr,
    envp: Ptr,
    flags: AtFlags,
) -> Result<Plan<'a>, Errno> {
    let (place, by_fd) = match named(cx, dir, OptPath(Some(path)), flags.0)? {
        super::path::Named::Path(path) => {
            let text = path.text()?;
            let start = cx.start(dir.0, text)?;
            let relative_to_fd = dir.0 != libc::AT_FDCWD && text.to_bytes().first() != Some(&b'/');
            let place = look_up(cx, &start, text, follow(flags.0))?;
            (place, relative_to_fd.then_some(dir.0))
        }
        super::path::Named::Cwd => return Err(Errno::EACCES),
        super::path::Named::Fd(fd) => (Place::Open(Arc::new(fd)), Some(dir.0)),
    };
    let is_name = matches!(place, Place::Name { .. });
    let program = open_program(cx, place)?;
    let mut plan = Plan::act(Act::Return(0));
    let mut limits = Limits::default();
    let asked = limits.ask(cx, &mut plan, &program, &[], argv);
    let given = Given {
        path: path.text()?,
        path_at,
        by_fd,
        is_name,
        argv,
        envp,
        limits,
    };
    // Who may not execute it isn't told what it is.
    let looked = asked.and_then(|()| look_into(cx, &mut plan, program, given));
    plan.act = looked.unwrap_or_else(Act::Fail);
    Ok(plan)
}

/// What a program was named by, and what it gets.
struct Given<'a> {
    path: &'a CStr,
    path_at: u64,
    by_fd: Option<i32>,
    is_name: bool,
    argv: Ptr,
    envp: Ptr,
    limits: Limits<'a>,
}

/// What the rules say of how the programs are started that one exec starts.
#[derive(Default)]
struct Limits<'a> {
    /// Each with the number of words that stood before the caller's own arguments then, `argv[0]` among them.
    all: Vec<(&'a Limit, usize)>,
    /// Further policies within which what is started goes on: those of a script's rule, and of its interpreter's.
    within: Within,
}

impl<'a> Limits<'a> {
    /// Asks whether a program may be started with the arguments that it is given: `words`, and behind them those of the
    /// caller but the zeroth.
    fn ask(
        &mut self,
        cx: &Cx<'a>,
        plan: &mut Plan<'a>,
        program: &Program<'a>,
        words: &[Vec<u8>],
        argv: Ptr,
    ) -> Result<(), Errno> {
        plan.also(Access::EXEC, program.rule);
        self.within = self.within.and(program.within);
        let heard = cx.sight.and_then(|sight| Some((sight, sight.reach()?)));
        let limits = program.limits.iter().map(|limit| limit.arguments.reach());
        let Some(reach) = limits
            .chain(heard.map(|(_, reach)| reach))
            .reduce(Reach::or)
        else {
            return Ok(());
        };
        let own = words.iter().skip(1);
        let mut given: Vec<Vec<u8>> = own.cloned().collect();
        match second_argument(cx, argv.0)? {
            0 => {}
            rest => given.extend(read_strings(cx.mem, rest, reach)?),
        }
        // A refusal is told as that of the rule which is about the arguments.
        let refusing = program
            .limits
            .iter()
            .find(|limit| !limit.arguments.allow(&given));
        if let (Some(refusing), Some(ask)) = (refusing, plan.asks.last_mut()) {
            ask.rule = refusing.otherwise;
        }
        if let Some((sight, _)) = heard {
            sight.starts(&program.exe, given);
        }
        let all = program.limits.iter();
        self.all
            .extend(all.map(|limit| (limit, words.len().max(1))));
        Ok(())
    }

    /// As they are checked once more, when so many words stand before the caller's arguments.
    fn at_start(&self, words: usize) -> Vec<ArgumentLimit> {
        let all = self.all.iter();
        all.map(|(limit, then)| ArgumentLimit {
            arguments: Arc::clone(&limit.arguments),
            from: words.max(1) + 1 - then,
        })
        .collect()
    }
}

/// What it takes to run a program: its interpreters, and what will be mapped.
fn look_into<'a>(
    cx: &Cx<'a>,
    plan: &mut Plan<'a>,
    mut program: Program<'a>,
    given: Given<'a>,
) -> Result<Act<'a>, Errno> {
    let Given {
        path,
        path_at,
        by_fd,
        is_name,
        argv,
        envp,
        mut limits,
    } = given;
    let asked = script_name(path, by_fd);
    let mut name = asked.clone();
    // A program given by descriptor alone is called after its file (Linux 6.14).
    let comm = if path.is_empty() {
        program.file_name.clone()
    } else {
        last_name(path.to_bytes()).to_vec()
    };
    let mut first: Vec<Vec<u8>> = Vec::new();
    let mut depth = 0;
    let head = loop {
        let head = read_head(&program.file)?;
        let Some(line) = shebang(&head)? else {
            break head;
        };
        // The script is opened again by its interpreter, through a descriptor that exec closes.
        if depth == 0 && by_fd.is_some_and(|fd| closes_on_exec(cx, fd)) {
            return Err(Errno::ENOENT);
        }
        depth += 1;
        if depth > MAX_SCRIPTS {
            return Err(Errno::ELOOP);
        }
        let mut words = vec![line.interpreter.to_vec()];
        words.extend(line.argument.map(<[u8]>::to_vec));
        words.push(name);
        // An inner script takes the place of the argument zero that the outer one made.
        words.extend(first.into_iter().skip(1));
        first = words;
        name = line.interpreter.to_vec();
        let interpreter = CString::new(line.interpreter).map_err(|_| Errno::ENOEXEC)?;
        let cwd = cx.start(libc::AT_FDCWD, &interpreter)?;
        let interpreter = cx.arena.alloc_slice_copy(interpreter.as_bytes_with_nul());
        let text = CStr::from_bytes_with_nul(interpreter).map_err(|_| Errno::ENOEXEC)?;
        let place = look_up(cx, &cwd, text, Follow::Last)?;
        program = open_program(cx, place)?;
        limits.ask(cx, plan, &program, &first, argv)?;
    };
    let loader = match elf::dynamic(&program.file, &head)? {
        None => None,
        Some(found) => Some(find_loader(cx, plan, &mut limits, found)?),
    };
    let (limits, within) = (limits.at_start(first.len()), limits.within);
    let argv = if depth == 0 {
        Argv::Guest(argv.0)
    } else {
        Argv::Script {
            first: first
                .into_iter()
                .map(|mut word| {
                    word.push(0);
                    word
                })
                .collect(),
            rest: second_argument(cx, argv.0)?,
        }
    };
    let by_path = depth == 0
        && is_name
        && !matches!(loader, Some(Loader::OfView(..)))
        && cx.vfs.is_fixed(path)
        && is_same_on_host(path, &program.stat);
    // A second name may lie where guests can write to it.
    let is_fixed = by_path
        && program.stat.st_nlink == 1
        && match &loader {
            None => true,
            Some(Loader::OfHost(_, path)) => cx.vfs.is_fixed(path),
            Some(Loader::OfView(..)) => false,
        };
    let (loader, own_loader) = match loader {
        None => (None, None),
        Some(Loader::OfHost(mapped, _)) => (Some(mapped), None),
        Some(Loader::OfView(mapped, own_loader)) => (Some(mapped), Some(Box::new(own_loader))),
    };
    let mapped = if is_fixed {
        None
    } else {
        let own = cx.vfs.when_mapped(program.file.as_fd())?;
        Some(iter::once(own).chain(loader).collect())
    };
    Ok(Act::Exec {
        program: OwnedFd::from(program.file),
        own_loader,
        plan: Box::new(ExecPlan {
            by_path: by_path.then(|| path.to_bytes().to_vec()),
            slot: -1,
            program: (program.stat.st_dev, program.stat.st_ino),
            mapped,
            limits,
            within,
            image: None,
            empty_at: path_at + path.count_bytes() as u64,
            argv,
            envp: envp.0,
            exe: program.exe,
            asked,
            comm,
            file_name: program.file_name,
        }),
    })
}

/// True if the kernel, given the same text, finds this very file: the view shows the host's tree there.
fn is_same_on_host(path: &CStr, program: &libc::stat) -> bool {
    // The kernel's working directory of a guest is none of the view's.
    path.to_bytes().first() == Some(&b'/')
        && sys::fs::stat(path)
            .is_ok_and(|host| (host.st_dev, host.st_ino) == (program.st_dev, program.st_ino))
}

/// What the kernel finds at a path of the host, if that is the file which the view has there.
fn on_host(path: &CStr, in_view: &libc::stat) -> Option<OwnedFd> {
    if path.to_bytes().first() != Some(&b'/') {
        return None;
    }
    let on_host = sys::fs::open(path, libc::O_PATH).ok()?;
    let host = sys::fs::fstat(on_host.as_fd()).ok()?;
    ((host.st_dev, host.st_ino) == (in_view.st_dev, in_view.st_ino)).then_some(on_host)
}

/// The name that a script's interpreter is given: the path as asked, or the descriptor's.
fn script_name(path: &CStr, by_fd: Option<i32>) -> Vec<u8> {
    match by_fd {
        None => path.to_bytes().to_vec(),
        Some(fd) if path.is_empty() => format!("/dev/fd/{fd}").into_bytes(),
        Some(fd) => [format!("/dev/fd/{fd}/").as_bytes(), path.to_bytes()].concat(),
    }
}

/// What follows the last slash.
fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

fn look_up<'a>(
    cx: &Cx<'a>,
    start: &Arc<crate::vfs::Dir>,
    path: &'a CStr,
    follow: Follow,
) -> Result<Place<'a>, Errno> {
    match cx.vfs.find(cx.caller(), start, path, follow, cx.arena)? {
        Found {
            place,
            stat: Some(_),
        } => Ok(place),
        Found { stat: None, .. } => Err(Errno::ENOENT),
    }
}

/// Opens a program for reading. Unreadable programs are refused: the kernel would make them
/// non-dumpable, and the supervisor could not serve their calls (ptrace(2), "ptrace access mode").
fn open_program<'a>(cx: &Cx<'a>, place: Place<'_>) -> Result<Program<'a>, Errno> {
    let stat = cx.vfs.stat(&place)?.ok_or(Errno::ENOENT)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => {}
        libc::S_IFLNK => return Err(Errno::ELOOP),
        _ => return Err(Errno::EACCES),
    }
    let flags = libc::O_RDONLY | libc::O_NONBLOCK;
    let fd = match &place {
        Place::Name { dir, name, .. } if dir.host().is_some() => {
            let dir = dir.host().ok_or(Errno::ENOENT)?;
            sys::fs::openat(dir, name, flags | libc::O_NOFOLLOW, 0)?
        }
        Place::Synth(_) => return Err(Errno::EACCES),
        other => {
            let handle = cx.vfs.handle(other)?;
            cx.vfs.reopen(handle.as_fd(), flags)?
        }
    };
    // What is judged from here on is this descriptor, whatever the name means by now.
    let stat = sys::fs::fstat(fd.as_fd())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno::EACCES);
    }
    sys::fs::faccessat2(
        fd.as_fd(),
        c"",
        libc::X_OK,
        libc::AT_EMPTY_PATH | libc::AT_EACCESS,
    )?;
    let exe = cx.vfs.text_of_file(fd.as_fd())?;
    let bare = exe.strip_suffix(b" (deleted)").unwrap_or(&exe);
    let file_name = match &place {
        Place::Name { name, .. } => name.to_bytes().to_vec(),
        _ => last_name(bare).to_vec(),
    };
    let rule = cx.vfs.rule(&place);
    if rule.is_none() && cx.vfs.is_foreign(fd.as_fd()) {
        return Err(Errno::EACCES);
    }
    let (limits, within) = cx.vfs.starts(&place, rule);
    Ok(Program {
        file: fd.into(),
        stat,
        rule,
        limits,
        within,
        exe,
        file_name,
    })
}

fn read_head(file: &std::fs::File) -> Result<Vec<u8>, Errno> {
    let mut head = vec![0u8; HEAD];
    let n = file.read_at(&mut head, 0).map_err(|_| Errno::EIO)?;
    head.truncate(n);
    Ok(head)
}

/// A `#!` line.
struct Shebang<'h> {
    interpreter: &'h [u8],
    argument: Option<&'h [u8]>,
}

/// Reads a `#!` line as fs/binfmt_script.c does; `None` for anything else. ENOEXEC for a line
/// without an interpreter, or one whose interpreter may have been cut off; EACCES for an empty name
/// before a NUL, which the kernel looks up and finds to be a directory.
fn shebang(head: &[u8]) -> Result<Option<Shebang<'_>>, Errno> {
    let Some(rest) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let end = rest.iter().position(|&b| b == b'\n');
    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    let Some(start) = line.iter().position(|b| !blank(b)) else {
        // A file shorter than the kernel's buffer is followed by NULs there.
        let padded = end.is_none() && head.len() < HEAD;
        return Err(if padded {
            Errno::EACCES
        } else {
            Errno::ENOEXEC
        });
    };
    let line = line.get(start..).unwrap_or_default();
    if end.is_none() && head.len() >= HEAD && !line.iter().any(|b| blank(b) || *b == 0) {
        return Err(Errno::ENOEXEC);
    }
    let line = line.split(|&b| b == 0).next().unwrap_or_default();
    let end = line.iter().rposition(|b| !blank(b)).map_or(0, |at| at + 1);
    let line = line.get(..end).unwrap_or_default();
    let (interpreter, argument) = match line.iter().position(blank) {
        None => (line, None),
        Some(at) => {
            let (name, rest) = line.split_at(at);
            let from = rest.iter().position(|b| !blank(b)).unwrap_or(0);
            (name, rest.get(from..))
        }
    };
    if interpreter.is_empty() {
        return Err(Errno::EACCES);
    }
    Ok(Some(Shebang {
        interpreter,
        argument,
    }))
}

/// The ELF interpreter, as the view has it.
enum Loader {
    /// The kernel, too, finds it by the path in the program: device and inode as mapped, and that path.
    OfHost((u64, u64), CString),
    /// The kernel would find another file, or none.
    OfView((u64, u64), OwnLoader),
}

/// Finds the interpreter of a program. ENOENT if the view has none, EACCES if it is no file.
fn find_loader(
    cx: &Cx<'_>,
    plan: &mut Plan<'_>,
    limits: &mut Limits<'_>,
    program: elf::Dynamic,
) -> Result<Loader, Errno> {
    let arena = bumpalo::Bump::new();
    let path = program.interpreter;
    let start = cx.start(libc::AT_FDCWD, &path)?;
    let found = cx
        .vfs
        .find(cx.caller(), &start, &path, Follow::Last, &arena)?;
    let in_view = found.stat.ok_or(Errno::ENOENT)?;
    // It is a program that is started, whatever it is called: any program may be named as a loader.
    let rule = cx.vfs.rule(&found.place);
    let (limited, within) = cx.vfs.starts(&found.place, rule);
    limits.within = limits.within.and(within);
    // The arguments are not its own, so no rule about arguments allows them.
    let limited = limited.first().map(|limit| limit.otherwise);
    plan.also(Access::EXEC, limited.or(rule));
    if let Some(on_host) = on_host(&path, &in_view) {
        return Ok(Loader::OfHost(cx.vfs.when_mapped(on_host.as_fd())?, path));
    }
    let loader = cx.vfs.handle(&found.place)?;
    let mapped = cx.vfs.when_mapped(loader.as_fd())?;
    if rule.is_none() && cx.vfs.is_foreign(loader.as_fd()) {
        return Err(Errno::EACCES);
    }
    let own_loader = OwnLoader {
        loader,
        named_at: program.named_at,
        pieces: program.pieces,
    };
    Ok(Loader::OfView(mapped, own_loader))
}

/// Where the guest's arguments after the zeroth begin; 0 if there are none.
fn second_argument(cx: &Cx<'_>, argv: u64) -> Result<u64, Errno> {
    if argv == 0 {
        return Ok(0);
    }
    let first = cx.bytes(argv, 8)?;
    let none = first.iter().all(|&b| b == 0);
    Ok(if none { 0 } else { argv + 8 })
}

fn closes_on_exec(cx: &Cx<'_>, fd: i32) -> bool {
    let path = format!("/proc/{}/fdinfo/{fd}", cx.task.tid);
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let flags = text
        .lines()
        .find_map(|l| l.strip_prefix("flags:"))
        .map(str::trim);
    let flags = flags.and_then(|f| i32::from_str_radix(f, 8).ok());
    flags.is_some_and(|f| f & libc::O_CLOEXEC != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shebang_line_is_read_as_the_kernel_reads_it() {
        let long = [b"#!/".as_slice(), &[b'x'; 300]].concat();
        let long = &long[..HEAD];
        let cut = [b"#!/bin/sh ".as_slice(), &[b'x'; 300]].concat();
        let cut = &cut[..HEAD];
        type Want<'w> = Result<Option<(&'w [u8], Option<&'w [u8]>)>, Errno>;
        let rows: [(&[u8], Want<'_>); 13] = [
            (b"#!  ", Err(Errno::EACCES)),
            (b"#! \0\n", Err(Errno::EACCES)),
            (b"#!/bin/sh\n", Ok(Some((b"/bin/sh", None)))),
            (b"#! /bin/sh -e \nrest", Ok(Some((b"/bin/sh", Some(b"-e"))))),
            (
                b"#!/usr/bin/env  python3 -u\n",
                Ok(Some((b"/usr/bin/env", Some(b"python3 -u")))),
            ),
            (b"#!/bin/sh\r\n", Ok(Some((b"/bin/sh\r", None)))),
            (b"#!/bin/sh", Ok(Some((b"/bin/sh", None)))),
            (b"#!\n", Err(Errno::ENOEXEC)),
            (b"#! \t \n", Err(Errno::ENOEXEC)),
            (b"#!relative x\n", Ok(Some((b"relative", Some(b"x"))))),
            (b"\x7fELF", Ok(None)),
            (long, Err(Errno::ENOEXEC)),
            (cut, Ok(Some((b"/bin/sh", Some(&cut[10..]))))),
        ];
        for (head, want) in rows {
            let got = shebang(head).map(|s| s.map(|s| (s.interpreter, s.argument)));
            assert_eq!(got, want, "{}", head.escape_ascii());
        }
    }
}
