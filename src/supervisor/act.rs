//! The deeds: one act, a few system calls on held objects, one reply.
//!
//! What is judged and what is acted on is the same object: a name is acted on with `O_NOFOLLOW` in a
//! held directory, anything else through a held descriptor. If the guest has put something else
//! there meanwhile, the call fails or acts on a name in the same directory, never elsewhere.

use super::change;
use super::cpus::Cpus;
use super::peer::{Announced, Peers};
use super::send::{Sending, Step};
use crate::mechanism::notify::Reply;
use crate::sys::{self, Errno};
use crate::syscall::plan::{Act, Address};
use crate::task::{GuestMem, Task};
use crate::vfs::{Caller, Dir, Inode, Place, Vfs};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What performing an act came to.
pub(super) enum Done {
    /// The answer.
    Reply(Reply),
    /// It would sleep: to be finished on a thread of its own.
    Sleeps(Sleeper),
    /// The guest gets a descriptor that can't be put into it (`O_PATH`): it must take it itself.
    HandOver { fd: OwnedFd, cloexec: bool },
    /// The guest gets a descriptor, and its number in memory, where there is room for so many bytes.
    TellFd {
        fd: OwnedFd,
        value: u64,
        room: usize,
        length: u64,
    },
    /// Its process must be guarded first, and then it makes the call again.
    Guard,
    /// An exec was approved; its descriptor must be put into the guest first.
    Exec {
        program: OwnedFd,
        own_loader: Option<Box<crate::vfs::OwnLoader>>,
        plan: Box<crate::task::ExecPlan>,
    },
    /// The name is taken by a link that was not there when we looked: look again.
    LookAgain,
}

/// A call that may sleep for as long as another process likes. It owns all it needs.
pub(super) enum Sleeper {
    /// open(2) of a FIFO, which waits for the other end (fifo(7)).
    OpenFifo {
        held: OwnedFd,
        name: std::ffi::CString,
        flags: i32,
    },
    /// connect(2), which waits for the peer's queue or the network.
    Connect {
        /// First, so that it is dropped first.
        announced: Option<Announced>,
        socket: Arc<OwnedFd>,
        address: Vec<u8>,
        _held: Option<OwnedFd>,
    },
    /// sendto(2) and its kin, which wait for room at the receiver.
    Send(Sending),
}

impl Sleeper {
    /// Does it, sleeping. EINTR when the thread was told to give up.
    pub(super) fn run(&mut self) -> sys::Result<Reply> {
        match self {
            Self::OpenFifo { held, name, flags } => {
                let fd = sys::fs::openat(held.as_fd(), name, *flags & !libc::O_NOFOLLOW, 0)?;
                Ok(Reply::AddFd {
                    fd,
                    cloexec: *flags & libc::O_CLOEXEC != 0,
                })
            }
            Self::Connect {
                announced,
                socket,
                address,
                ..
            } => {
                sys::socket::connect(socket.as_fd(), address)?;
                if let Some(announced) = announced {
                    announced.is_made();
                }
                Ok(Reply::Return(0))
            }
            Self::Send(sending) => match sending.go(true)? {
                Step::Done(value) => Ok(Reply::Return(value)),
                Step::Waits => Err(Errno::EINTR),
            },
        }
    }

    /// What the guest gets if a signal ends the sleep.
    pub(super) fn broken_off(&mut self) -> Reply {
        let Self::Send(sending) = self else {
            return Reply::Restart;
        };
        match sending.so_far() {
            Ok(Some(value)) => Reply::Return(value),
            Ok(None) if sending.has_timeout() => Reply::Errno(Errno::EINTR),
            Ok(None) => Reply::Restart,
            Err(errno) => Reply::Errno(errno),
        }
    }
}

/// What a deed may use.
pub(super) struct Hands<'a> {
    pub(super) vfs: &'a Vfs,
    pub(super) task: &'a Task,
    pub(super) mem: &'a dyn GuestMem,
    pub(super) who: Caller<'a>,
    pub(super) buffer: &'a mut Vec<u8>,
    /// The umask that this thread has now.
    pub(super) umask: &'a mut u32,
    pub(super) peers: &'a Arc<Peers>,
    pub(super) cpus: &'a Cpus,
}

impl Hands<'_> {
    /// Performs `act`, in a directory without limits.
    pub(super) fn perform_plainly(&mut self, act: Act<'_>) -> sys::Result<Done> {
        let done = |value| Ok(Done::Reply(Reply::Return(value)));
        match act {
            Act::Return(value) => return done(value),
            Act::Fail(errno) => return Err(errno),
            Act::Write { addr, data, value } => {
                self.mem.write(addr, data)?;
                return done(value);
            }
            Act::Continue(_) => return Ok(Done::Reply(Reply::Continue)),
            Act::UnshareFs(_) => {
                self.task.unshare_fs();
                return Ok(Done::Reply(Reply::Continue));
            }
            Act::Change { targets, change } => self.change_tasks(&targets, &change)?,
            Act::Compare { targets, by } => return done(self.compare(&targets, &by)?),
            Act::OpenProcess { task, tid, flags } => {
                let fd = self.open_process(task.as_deref(), tid, flags)?;
                return Ok(Done::Reply(Reply::AddFd { fd, cloexec: true }));
            }
            Act::SetOwner { file, owner } => self.set_owner(&file, &owner)?,
            Act::TellCpus { tid, mask, room } => {
                let told = self.cpus.of(tid, room)?;
                self.mem.write(mask, &told)?;
                return done(told.len() as i64);
            }
            Act::Open {
                place,
                flags,
                mode,
                fifo,
                directory,
                seen,
            } => return self.open(&place, flags, mode, fifo, directory, seen),
            Act::Exec {
                program,
                own_loader,
                plan,
            } => {
                return Ok(Done::Exec {
                    program,
                    own_loader,
                    plan,
                });
            }
            Act::Connect { socket, to } => return self.connect(socket, &to),
            Act::TellPeer {
                socket,
                by,
                value,
                room,
                length,
            } => return self.tell_peer(&socket, by, value, room, length),
            Act::Guard => return Ok(Done::Guard),
            Act::Send {
                socket,
                parcels,
                flags,
                vector,
            } => {
                self.named_for_credentials(&socket)?;
                let mut sending = Sending::new(self, socket, parcels, flags, vector)?;
                return match sending.go(false)? {
                    Step::Done(value) => done(value),
                    Step::Waits => Ok(Done::Sleeps(Sleeper::Send(sending))),
                };
            }
            Act::ReadDir {
                dir,
                buf,
                room,
                old,
            } => return done(self.read_dir(&dir, buf, room, old)?),
            Act::List {
                dir,
                listing,
                at,
                buf,
                room,
                old,
            } => {
                let (records, next) = listing.encode(at, room, old)?;
                if next != at {
                    self.mem.write(buf, &records)?;
                    sys::fs::lseek(dir.as_fd(), next, libc::SEEK_SET)?;
                }
                return done(records.len() as i64);
            }
            Act::Umask(mask) => return done(self.task.fs().set_umask(mask).into()),
            Act::Watch {
                inotify,
                place,
                mask,
            } => {
                let handle = self.watched(&place)?;
                let path = self.vfs.fd_path(handle.as_fd())?;
                return done(sys::fs::inotify_add_watch(inotify.as_fd(), &path, mask)? as i64);
            }
            Act::MakeDir { place, mode } => {
                self.take_umask();
                let (dir, name) = new_name(&place)?;
                dir.make_dir(name, mode)?;
            }
            Act::MakeNode { place, mode, dev } => {
                self.take_umask();
                let (dir, name) = new_name(&place)?;
                dir.make_node(name, mode, dev)?;
            }
            Act::MakeLink { place, target } => {
                let (dir, name) = new_name(&place)?;
                dir.make_link(name, target)?;
            }
            Act::Link { from, to } => self.link(&from, &to)?,
            Act::Rename { from, to, flags } => self.rename(&from, &to, flags)?,
            Act::Remove { place, flags } => {
                let Place::Name { dir, name, .. } = &place else {
                    return Err(Errno::EPERM);
                };
                dir.remove(name, flags)?;
                self.vfs.name_changed(dir, name.to_bytes());
            }
            Act::Chmod { object, mode } => change::chmod(self.vfs, &object, mode)?,
            Act::Chown { object, uid, gid } => change::chown(self.vfs, &object, uid, gid)?,
            Act::SetTimes { object, times } => {
                change::set_times(self.vfs, &object, times.as_ref())?;
            }
            Act::Truncate { place, .. } if self.vfs.is_running(&place) => {
                return Err(Errno::ETXTBSY);
            }
            Act::Truncate { place, length } => {
                if let Some((cow, name)) = change::in_tree(&place)? {
                    cow.truncate(&name, length)?;
                    return done(0);
                }
                let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
                let fd = self.open_now(&place, flags, 0, None)?;
                sys::fs::ftruncate(fd.as_fd(), length)?;
            }
            Act::SetXattr {
                object,
                name,
                value,
                flags,
            } => change::set_xattr(self.vfs, &object, name, value, flags)?,
            Act::RemoveXattr { object, name } => change::remove_xattr(self.vfs, &object, name)?,
            Act::SetFileAttr { object, attr } => change::set_file_attr(self.vfs, &object, &attr)?,
            Act::Access { place, mode, flags } => self.access(&place, mode, flags)?,
            Act::ChangeDir(dir) => self.task.fs().set_cwd(dir),
            Act::Autobind { socket } => self.autobind(&socket)?,
            Act::Bind { socket, to, asked } => self.bind(&socket, &to, asked)?,
            Act::SignalAll { groups, signal } => self.signal_all(&groups, signal)?,
            Act::SignalBehind {
                pidfd,
                signal,
                info,
                flags,
            } => sys::pidfd::queue_signal(pidfd.as_fd(), signal, info, flags)?,
            Act::OutOfReach => return Err(Errno::EPERM),
            Act::Grow { file, how } => return self.grow(&file, how),
        }
        done(0)
    }

    /// Gives this thread the guest's umask, so that the kernel applies it, default ACLs and
    /// setgid directories as it would for the guest (umask(2), acl(5)).
    pub(super) fn take_umask(&mut self) {
        let wanted = self.task.fs().umask();
        if *self.umask != wanted {
            sys::fs::umask(wanted);
            *self.umask = wanted;
        }
    }

    fn open(
        &mut self,
        place: &Place<'_>,
        flags: i32,
        mode: u32,
        fifo: bool,
        directory: bool,
        seen: Option<Inode>,
    ) -> sys::Result<Done> {
        let cloexec = flags & libc::O_CLOEXEC != 0;
        if flags & libc::O_PATH != 0 {
            let fd = self.open_path(place, flags)?;
            return Ok(Done::HandOver { fd, cloexec });
        }
        // fifo(7): opening for both never waits, nor does O_NONBLOCK.
        let waits =
            fifo && flags & libc::O_NONBLOCK == 0 && flags & libc::O_ACCMODE != libc::O_RDWR;
        if waits {
            return self.open_fifo(place, flags);
        }
        match self.open_now(place, flags, mode, seen) {
            // Somebody put a file there, which takes another right.
            Ok(fd) if directory && self.vfs.is_ruled() && !is_directory(&fd)? => {
                Ok(Done::LookAgain)
            }
            Ok(fd) => Ok(Done::Reply(Reply::AddFd { fd, cloexec })),
            // Somebody put a link there after we looked.
            Err(Errno::ELOOP)
                if flags & libc::O_NOFOLLOW == 0 && matches!(place, Place::Name { .. }) =>
            {
                Ok(Done::LookAgain)
            }
            Err(errno) => Err(errno),
        }
    }

    fn open_fifo(&self, place: &Place<'_>, flags: i32) -> sys::Result<Done> {
        let held = match place {
            Place::Name { dir, name, .. } => dir.fifo(name, flags)?,
            // Whoever reads or writes a lower's FIFO talks to the host.
            Place::Open(fd) => change::not_a_lowers(self.vfs, fd.as_fd())
                .map(|_| ())
                .and_then(|()| self.vfs.handle(place))?,
            _ => self.vfs.handle(place)?,
        };
        let name = self.vfs.fd_path(held.as_fd())?;
        let flags = (flags & !(libc::O_CREAT | libc::O_TRUNC)) | libc::O_NOCTTY;
        Ok(Done::Sleeps(Sleeper::OpenFifo { held, name, flags }))
    }

    /// A descriptor that names a place and does nothing else (open(2), `O_PATH`).
    fn open_path(&self, place: &Place<'_>, flags: i32) -> sys::Result<OwnedFd> {
        match place {
            // With the flags asked for: fcntl(2), F_GETFL, shows them.
            Place::Name { dir, name, .. } => dir.open(name, flags, 0),
            Place::File(_) | Place::Synth(_) => self.vfs.handle(place),
            Place::Dir(dir, _) => {
                let stand_in = self.vfs.stand_in(dir)?;
                // Where the guest may not search, `.` is not found.
                sys::fs::openat(stand_in, c".", flags, 0)
                    .or_else(|_| self.vfs.reopen_dir(stand_in, flags))
            }
            Place::Open(fd) => self.vfs.reopen(fd.as_fd(), libc::O_PATH),
            // Links that only the view knows have no object. DIFFERS: the kernel's have.
            Place::Link { .. } | Place::Magic(_) => Err(Errno::ELOOP),
            Place::Absent { .. } => Err(Errno::ENOENT),
        }
    }

    /// Opens what can be opened without waiting. `O_NONBLOCK` guards against a FIFO that somebody
    /// put there after we looked; the guest gets the flags it asked for.
    pub(super) fn open_now(
        &mut self,
        place: &Place<'_>,
        flags: i32,
        mode: u32,
        seen: Option<Inode>,
    ) -> sys::Result<OwnedFd> {
        if flags & (libc::O_CREAT | libc::O_TMPFILE) != 0 {
            self.take_umask();
        }
        if flags & (libc::O_ACCMODE | libc::O_TRUNC) != 0 && self.vfs.is_running(place) {
            return Err(Errno::ETXTBSY);
        }
        let flags = flags | libc::O_NOCTTY;
        match place {
            Place::Name { dir, name, .. } => dir.open_seen(name, flags, mode, seen),
            Place::Dir(dir, _) if dir.cow().is_some() => match dir.open(c".", flags, mode) {
                Err(Errno::EACCES) if flags & libc::O_TMPFILE != libc::O_TMPFILE => {
                    let stand_in = self.vfs.stand_in(dir)?;
                    self.vfs.reopen_dir(stand_in, flags)
                }
                other => other,
            },
            Place::Dir(dir, _) => match dir.host() {
                // In a directory that may be read and not searched, `.` is not found.
                Some(fd) => match sys::fs::openat(fd, c".", flags, mode) {
                    Err(Errno::EACCES) if flags & libc::O_TMPFILE != libc::O_TMPFILE => {
                        self.vfs.reopen_dir(fd, flags)
                    }
                    other => other,
                },
                None if flags & libc::O_TMPFILE == libc::O_TMPFILE => Err(Errno::EROFS),
                None => self.vfs.reopen_dir(self.vfs.stand_in(dir)?, flags),
            },
            Place::File(_) => {
                let handle = self.vfs.handle(place)?;
                let flags = flags & !(libc::O_NOFOLLOW | libc::O_CREAT | libc::O_EXCL);
                self.vfs.reopen(handle.as_fd(), flags)
            }
            Place::Synth(file) => self
                .vfs
                .open_synth(file, flags & !libc::O_NOFOLLOW, self.who),
            Place::Open(fd) => {
                self.may_reopen(fd, flags)?;
                let flags = flags & !(libc::O_NOFOLLOW | libc::O_CREAT | libc::O_EXCL);
                self.vfs.reopen(fd.as_fd(), flags)
            }
            Place::Link { .. } | Place::Magic(_) => Err(Errno::ELOOP),
            Place::Absent { .. } => Err(Errno::ENOENT),
        }
    }

    /// A descriptor of a file that the view doesn't show was passed in: reopening it must not
    /// grant more than it does.
    fn may_reopen(&self, fd: &Arc<OwnedFd>, flags: i32) -> sys::Result<()> {
        if change::not_a_lowers(self.vfs, fd.as_fd()).is_err() {
            // The view shows it no more: there is no copy that could be written instead.
            let stat = sys::fs::fstat(fd.as_fd())?;
            let is_file = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
            let reads = flags & (libc::O_ACCMODE | libc::O_TRUNC) == libc::O_RDONLY;
            return match is_file && reads {
                true => Ok(()),
                false => Err(Errno::EROFS),
            };
        }
        if !self.vfs.is_foreign(fd.as_fd()) {
            return Ok(());
        }
        let has = sys::fs::status_flags(fd.as_fd())? & libc::O_ACCMODE;
        let wants = flags & libc::O_ACCMODE;
        if (has == libc::O_RDWR || has == wants)
            && (flags & libc::O_TRUNC == 0 || has != libc::O_RDONLY)
        {
            return Ok(());
        }
        Err(Errno::EACCES)
    }

    fn link(&self, from: &Place<'_>, to: &Place<'_>) -> sys::Result<()> {
        let (to, new) = new_name(to)?;
        match from {
            Place::Name { dir, name, .. } => dir.link(name, to, new),
            Place::Open(fd) => {
                let own = change::not_a_lowers(self.vfs, fd.as_fd()).map_err(|_| Errno::EXDEV)?;
                if own.is_some() != to.cow().is_some() {
                    return Err(Errno::EXDEV);
                }
                to.link_open(fd.as_fd(), new)
            }
            _ => Err(Errno::EXDEV),
        }
    }

    fn rename(&self, from: &Place<'_>, to: &Place<'_>, flags: u32) -> sys::Result<()> {
        let (
            Place::Name {
                dir: a, name: old, ..
            },
            Place::Name {
                dir: b, name: new, ..
            },
        ) = (from, to)
        else {
            return Err(Errno::EXDEV);
        };
        a.rename(old, b, new, flags)?;
        self.vfs.name_changed(a, old.to_bytes());
        self.vfs.name_changed(b, new.to_bytes());
        Ok(())
    }

    /// What the kernel says before it looks whether the mount is read-only (EROFS): that the name is taken,
    /// that the file's permissions forbid it.
    pub(super) fn sooner_than_read_only(&self, act: &Act<'_>) -> Option<Errno> {
        let is_there = |place: &Place<'_>| matches!(self.vfs.stat(place), Ok(Some(_)));
        let forbidden = |place: &Place<'_>, mode, flags| {
            let said = self.access(place, mode, flags);
            (said == Err(Errno::EACCES)).then_some(Errno::EACCES)
        };
        match act {
            Act::MakeDir { place, .. }
            | Act::MakeNode { place, .. }
            | Act::MakeLink { place, .. }
            | Act::Link { to: place, .. } => is_there(place).then_some(Errno::EEXIST),
            Act::Bind {
                to: Address::Place(place),
                ..
            } => is_there(place).then_some(Errno::EADDRINUSE),
            Act::Access { place, mode, flags } => forbidden(place, *mode, *flags),
            Act::Truncate { place, .. } => forbidden(place, libc::W_OK, libc::AT_EACCESS),
            // With O_TRUNC and O_TMPFILE the mount is looked at first.
            Act::Open { place, flags, .. }
                if flags & libc::O_TRUNC == 0
                    && flags & libc::O_TMPFILE != libc::O_TMPFILE
                    && is_there(place) =>
            {
                let reads = flags & libc::O_ACCMODE != libc::O_WRONLY;
                let mode = libc::W_OK | if reads { libc::R_OK } else { 0 };
                forbidden(place, mode, libc::AT_EACCESS)
            }
            _ => None,
        }
    }

    fn access(&self, place: &Place<'_>, mode: i32, flags: i32) -> sys::Result<()> {
        match place {
            _ if mode == libc::F_OK => Ok(()),
            Place::Name { dir, name, .. } => dir.access(name, mode, flags),
            Place::Dir(dir, _) if dir.cow().is_some() => dir.access(c".", mode, flags),
            Place::Dir(dir, _) if dir.host().is_none() && mode & libc::W_OK != 0 => {
                Err(Errno::EROFS)
            }
            // The mode of a link is 0777.
            Place::Link { .. } | Place::Magic(_) => Ok(()),
            other => {
                let handle = self.vfs.handle(other)?;
                sys::fs::faccessat2(handle.as_fd(), c"", mode, flags | libc::AT_EMPTY_PATH)
            }
        }
    }

    fn read_dir(&mut self, dir: &OwnedFd, buf: u64, room: usize, old: bool) -> sys::Result<i64> {
        self.buffer.resize(room, 0);
        let before = sys::fs::lseek(dir.as_fd(), 0, libc::SEEK_CUR)?;
        let n = sys::fs::getdents64(dir.as_fd(), self.buffer)?;
        let records = self.buffer.get_mut(..n).ok_or(Errno::EIO)?;
        if old {
            crate::vfs::to_old_layout(records);
        }
        if let Err(errno) = self.mem.write(buf, records) {
            // Nothing was read, as far as the guest can tell.
            sys::fs::lseek(dir.as_fd(), before, libc::SEEK_SET)?;
            return Err(errno);
        }
        Ok(n as i64)
    }

    /// What is to be watched: of a copy-on-write mount's directory the part that changes.
    fn watched(&self, place: &Place<'_>) -> sys::Result<OwnedFd> {
        let handle = self.vfs.handle(place)?;
        match change::in_tree(place)? {
            Some((cow, name)) if change::is_dir(handle.as_fd())? => cow.copy_up(&name),
            _ => Ok(handle),
        }
    }
}

fn is_directory(fd: &OwnedFd) -> sys::Result<bool> {
    Ok(sys::fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Where a new name is to be made. EEXIST for what is no name of a directory.
fn new_name<'p>(place: &'p Place<'_>) -> sys::Result<(&'p Dir, &'p CStr)> {
    match place {
        Place::Name { dir, name, .. } => Ok((dir, name)),
        _ => Err(Errno::EEXIST),
    }
}
