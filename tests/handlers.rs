//! Handlers, without a guest: what a call asks of the policy, and what it proposes, before anything happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails in its set-up fails"
)]

use bumpalo::Bump;
use sbox::policy::{Access, Policy, Rule};
use sbox::syscall::plan::{Act, Cx, Errno};
use sbox::syscall::rules::Net;
use sbox::syscall::table;
use sbox::task::{FsContext, GuestMem, Registry};
use sbox::vfs::mount::{HostObject, Mount, MountTable, Source};
use sbox::vfs::path::VPath;
use sbox::vfs::{Scratch, Vfs};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Guest memory that is nothing but strings: the N-th argument string lies at N * 0x1000.
struct Strings(Vec<Vec<u8>>);

impl GuestMem for Strings {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let (index, from) = ((addr >> 12) as usize, (addr & 0xfff) as usize);
        let rest = self
            .0
            .get(index.wrapping_sub(1))
            .and_then(|s| s.get(from..));
        let rest = rest.filter(|r| !r.is_empty()).ok_or(Errno::EFAULT)?;
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
}

/// An argument of a row: a string (its address is passed), or a number.
#[derive(Clone, Copy)]
enum Arg {
    S(&'static str),
    N(i64),
}
use Arg::{N, S};

const BAD: Arg = N(0xdead_0000);
const CWD: Arg = N(libc::AT_FDCWD as i64);

/// Makes the plan of a call and says what it asks and proposes: `read+write /w: Open`.
fn planned(name: &str, args: &[Arg]) -> String {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("d")).unwrap();
    std::fs::write(host.path().join("f"), "x").unwrap();
    std::os::unix::fs::symlink("f", host.path().join("l")).unwrap();
    let object =
        HostObject::open(&CString::new(host.path().as_os_str().as_bytes()).unwrap()).unwrap();
    let mut policy = Policy::default();
    let rule = policy.add(Rule {
        grants: Access::ALL,
        origin: "w".into(),
    });
    let made_up = policy.add(Rule {
        grants: Access::READ_ONLY,
        origin: "view".into(),
    });
    let at = VPath::clean(b"/w").unwrap();
    let mounts = MountTable::new(vec![Mount {
        at,
        source: Source::Dir(object),
        rule,
    }]);
    let vfs = Vfs::new(mounts, Scratch::new().unwrap(), made_up).unwrap();
    let tasks = Registry::default();
    let task = tasks.add_first(i32::MAX, FsContext::new(Arc::clone(vfs.root()), 0o022));
    let mut strings = Vec::new();
    let mut registers = [0u64; 6];
    for (register, arg) in registers.iter_mut().zip(args) {
        *register = match arg {
            N(n) => *n as u64,
            S(text) => {
                strings.push([text.as_bytes(), &[0]].concat());
                (strings.len() as u64) << 12
            }
        };
    }
    let (mem, arena) = (Strings(strings), Bump::new());
    let cx = Cx {
        task: &task,
        vfs: &vfs,
        mem: &mem,
        arena: &arena,
        tasks: &tasks,
        net: Net::None,
        signals: sbox::policy::Signals::Own,
        registers: &registers,
        notes: None,
        sight: None,
        trip: None,
    };
    let handler = table::by_name(name)
        .and_then(|row| row.handler)
        .expect(name);
    match handler(&cx, &registers) {
        Err(errno) => format!("{errno:?}"),
        Ok(plan) => {
            let asks: Vec<String> = plan
                .asks
                .iter()
                .map(|ask| {
                    format!(
                        "{} {}",
                        ask.access,
                        if ask.rule == rule { "w" } else { "view" }
                    )
                })
                .collect();
            let act = format!("{:?}", plan.act);
            let act = act
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default()
                .to_owned();
            let act = if let Act::Fail(errno) = plan.act {
                format!("fail {errno:?}")
            } else {
                act
            };
            format!("{}: {act}", asks.join(", "))
        }
    }
}

/// One row, one promise.
#[test]
fn a_call_asks_for_what_it_is_about_to_do() {
    let (rd, wr, rdwr) = (N(0), N(1), N(2));
    let flags = |f: i32| N(i64::from(f));
    let create = flags(libc::O_CREAT | libc::O_WRONLY);
    let rows: Vec<(&str, Vec<Arg>, &str)> = vec![
        ("open", vec![S("/w/f"), rd, N(0)], "read w: Open"),
        ("open", vec![S("/w/f"), wr, N(0)], "write w: Open"),
        ("open", vec![S("/w/f"), rdwr, N(0)], "read+write w: Open"),
        (
            "open",
            vec![S("/w/f"), flags(libc::O_TRUNC), N(0)],
            "read+write w: Open",
        ),
        ("open", vec![S("/w/f"), N(3), N(0)], "read+write w: Open"),
        (
            "open",
            vec![S("/w/f"), flags(libc::O_PATH), N(0)],
            "look w: Open",
        ),
        (
            "open",
            vec![S("/w/new"), create, N(0o644)],
            "write+create w: Open",
        ),
        ("open", vec![S("/w/new"), rd, N(0)], "ENOENT"),
        (
            "open",
            vec![S("/w/f"), flags(libc::O_CREAT | libc::O_EXCL), N(0)],
            "EEXIST",
        ),
        (
            "open",
            vec![S("/w/l"), flags(libc::O_NOFOLLOW), N(0)],
            "ELOOP",
        ),
        ("open", vec![S("/w/d"), wr, N(0)], "EISDIR"),
        (
            "open",
            vec![S("/w/f"), flags(libc::O_DIRECTORY), N(0)],
            "ENOTDIR",
        ),
        ("open", vec![S("/w/f/"), create, N(0)], "EISDIR"),
        (
            "open",
            vec![S("/new"), create, N(0)],
            "create view: fail EACCES",
        ),
        ("open", vec![S("/w/none/f/"), create, N(0)], "ENOENT"),
        ("open", vec![BAD, rd, N(0)], "EFAULT"),
        // What is wrong with a path is told when its turn comes.
        ("open", vec![BAD, flags(libc::O_TMPFILE), N(0)], "EINVAL"),
        ("link", vec![S("/w/none"), BAD], "ENOENT"),
        (
            "setxattr",
            vec![S("/w/none"), S("user.a"), N(0), N(70_000), N(0)],
            "E2BIG",
        ),
        ("setxattr", vec![BAD, S(""), N(0), N(0), N(0)], "ERANGE"),
        ("open", vec![S(""), rd, N(0)], "ENOENT"),
        ("creat", vec![S("/w/f"), N(0o644)], "write w: Open"),
        ("openat", vec![CWD, S("w/f"), rd, N(0)], "read w: Open"),
        ("mkdir", vec![S("/w/n"), N(0o755)], "create w: MakeDir"),
        ("mkdir", vec![S("/w"), N(0o755)], "EEXIST"),
        ("mkdir", vec![S("/w/."), N(0o755)], "EEXIST"),
        ("mkdir", vec![S("/n"), N(0o755)], "create view: fail EACCES"),
        (
            "mknod",
            vec![S("/w/n"), N(i64::from(libc::S_IFCHR)), N(0x103)],
            "create w: fail EPERM",
        ),
        (
            "mknod",
            vec![S("/w/f"), N(i64::from(libc::S_IFCHR)), N(0x103)],
            "EEXIST",
        ),
        // A whiteout is no device.
        (
            "mknod",
            vec![S("/w/n"), N(i64::from(libc::S_IFCHR)), N(0)],
            "create w: MakeNode",
        ),
        (
            "mknod",
            vec![S("/w/n"), N(i64::from(libc::S_IFIFO)), N(0)],
            "create w: MakeNode",
        ),
        ("rmdir", vec![S("/w/d")], "delete w: Remove"),
        ("rmdir", vec![S("/w")], "delete view: fail EBUSY"),
        ("rmdir", vec![S("/w/d/.")], "EINVAL"),
        ("rmdir", vec![S("/w/d/..")], "ENOTEMPTY"),
        ("unlink", vec![S("/w/f")], "delete w: Remove"),
        ("unlink", vec![S("/w")], "delete view: fail EISDIR"),
        ("unlink", vec![S("/gone")], "delete view: fail ENOENT"),
        (
            "rename",
            vec![S("/w/f"), S("/w/g")],
            "delete w, create+delete w: Rename",
        ),
        ("rename", vec![S("/w/f"), S("/g")], "EXDEV"),
        ("rename", vec![S("/w/d/."), S("/w/g")], "EBUSY"),
        ("link", vec![S("/w/f"), S("/w/g")], "create w: Link"),
        ("link", vec![S("/w/none"), S("/w/g")], "ENOENT"),
        (
            "symlink",
            vec![S("anything"), S("/w/g")],
            "create w: MakeLink",
        ),
        ("symlink", vec![S(""), S("/w/g")], "ENOENT"),
        (
            "chmod",
            vec![S("/w/f"), N(0o600)],
            "change metadata of w: Chmod",
        ),
        ("chmod", vec![S("/w/none"), N(0o600)], "ENOENT"),
        ("truncate", vec![S("/w/f"), N(0)], "write w: Truncate"),
        ("truncate", vec![S("/w/f"), N(-1)], "EINVAL"),
        ("truncate", vec![S("/w/d"), N(0)], "EISDIR"),
        (
            "access",
            vec![S("/w/f"), N(i64::from(libc::W_OK))],
            "write w: Access",
        ),
        ("access", vec![S("/w/f"), N(0)], "look w: Access"),
        ("access", vec![S("/w/f"), N(64)], "EINVAL"),
        ("chdir", vec![S("/w/d")], ": ChangeDir"),
        ("chdir", vec![S("/w/f")], "ENOTDIR"),
        ("umask", vec![N(0o77)], ": Umask"),
        ("getcwd", vec![N(0x1000), N(0)], "ERANGE"),
        ("kill", vec![N(i64::from(i32::MAX)), N(0)], ": Continue"),
        ("kill", vec![N(1), N(9)], "ESRCH"),
        ("kill", vec![N(1), N(99)], "EINVAL"),
        ("tgkill", vec![N(0), N(1), N(9)], "EINVAL"),
        ("sched_getaffinity", vec![N(1), N(8), N(0)], "ESRCH"),
        ("execve", vec![S("/w/f"), N(0), N(0)], "EACCES"),
        ("execve", vec![S("/w/d"), N(0), N(0)], "EACCES"),
        ("execve", vec![S("/w/none"), N(0), N(0)], "ENOENT"),
    ];
    for (name, args, want) in rows {
        let shown: Vec<String> = args
            .iter()
            .map(|a| match a {
                S(text) => format!("{text:?}"),
                N(n) => n.to_string(),
            })
            .collect();
        assert_eq!(planned(name, &args), want, "{name}({})", shown.join(", "));
    }
}
