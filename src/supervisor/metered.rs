//! Deeds in directories of limited size: counted first, then done.
//!
//! Names are made and removed by one worker alone, so what is there before a deed is there during it. What fails
//! after it was counted is given back.

use super::act::{Done, Hands};
use crate::mechanism::notify::Reply;
use crate::sys::{self, Errno};
use crate::syscall::plan::{Act, Address, Grow};
use crate::vfs::meter::{Meter, Opening};
use crate::vfs::{Place, Vfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that are copied for a guest in one call at most: so long nobody else is served.
const MOST_COPIED: u64 = 4 << 20;

/// What a deed changes in a book, once it is done.
enum Tally<'v> {
    Nothing,
    /// A name was counted for what is made.
    Made(&'v Meter),
    /// An open: the length before, if it empties the file, and whether a name was counted for it.
    Opened {
        meter: &'v Meter,
        made: bool,
        before: Option<u64>,
        grows: bool,
    },
    /// A name goes, and with it perhaps a file.
    Gone(Gone<'v>),
    /// A name goes if another takes its place; a name was counted for the whiteout left behind.
    Renamed {
        meter: &'v Meter,
        over: Option<Gone<'v>>,
        whiteout: bool,
    },
    /// The guest gets a descriptor that names a file and no more.
    ByPath,
}

/// A name that goes, and the file whose last one it is.
struct Gone<'v> {
    meter: &'v Meter,
    last_of: Option<OwnedFd>,
}

impl<'v> Gone<'v> {
    fn new(vfs: &Vfs, meter: &'v Meter, place: &Place<'_>) -> sys::Result<Self> {
        let stat = vfs.stat(place)?.ok_or(Errno::ENOENT)?;
        let last = stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_nlink == 1;
        let last_of = last.then(|| vfs.handle(place)).transpose()?;
        if last {
            meter.file_going((stat.st_dev, stat.st_ino));
        }
        Ok(Self { meter, last_of })
    }

    fn count(self) {
        match self.last_of {
            Some(file) => self.meter.file_gone(file.as_fd()),
            None => self.meter.name_gone(),
        }
    }
}

fn meter_of<'v>(vfs: &'v Vfs, place: &Place<'_>) -> Option<&'v Meter> {
    match place {
        Place::Name { dir, .. } | Place::Dir(dir, _) => vfs.meter_of_dir(dir),
        Place::Open(fd) => vfs.meter_of_file(fd.as_fd()),
        _ => None,
    }
}

impl<'v> Tally<'v> {
    /// Counts what `act` will take. ENOSPC if there is no room for it.
    fn before(vfs: &'v Vfs, act: &Act<'_>) -> sys::Result<Self> {
        let made = |place: &Place<'_>| match meter_of(vfs, place) {
            Some(meter) if vfs.stat(place)?.is_none() => {
                meter.take_name().map(|()| Self::Made(meter))
            }
            _ => Ok(Self::Nothing),
        };
        match act {
            Act::MakeDir { place, .. }
            | Act::MakeNode { place, .. }
            | Act::MakeLink { place, .. }
            | Act::Bind {
                to: Address::Place(place),
                ..
            } => made(place),
            // The first name of a file that had none was counted when the file was made.
            Act::Link { from, .. } if vfs.stat(from)?.is_some_and(|s| s.st_nlink == 0) => {
                Ok(Self::Nothing)
            }
            Act::Link { to, .. } => made(to),
            Act::Remove { place, .. } => match meter_of(vfs, place) {
                Some(meter) => Ok(Self::Gone(Gone::new(vfs, meter, place)?)),
                None => Ok(Self::Nothing),
            },
            Act::Rename { from, to, flags } => Self::before_rename(vfs, from, to, *flags),
            Act::Open { flags, .. } if flags & libc::O_PATH != 0 => Ok(Self::ByPath),
            Act::Open { place, flags, .. } => Self::before_open(vfs, place, *flags),
            _ => Ok(Self::Nothing),
        }
    }

    fn before_rename(
        vfs: &'v Vfs,
        from: &Place<'_>,
        to: &Place<'_>,
        flags: u32,
    ) -> sys::Result<Self> {
        let Some(meter) = meter_of(vfs, to) else {
            return Ok(Self::Nothing);
        };
        let (old, new) = (vfs.stat(from)?, vfs.stat(to)?);
        let one = |a: libc::stat, b: libc::stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        let goes = flags & libc::RENAME_EXCHANGE == 0
            && old.zip(new).is_some_and(|(old, new)| !one(old, new));
        let over = goes.then(|| Gone::new(vfs, meter, to)).transpose()?;
        let whiteout = flags & libc::RENAME_WHITEOUT != 0;
        if whiteout {
            meter.take_name()?;
        }
        Ok(Self::Renamed {
            meter,
            over,
            whiteout,
        })
    }

    fn before_open(vfs: &'v Vfs, place: &Place<'_>, flags: i32) -> sys::Result<Self> {
        let Some(meter) = meter_of(vfs, place) else {
            return Ok(Self::Nothing);
        };
        let there = vfs.stat(place)?;
        let nameless = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let made = nameless || there.is_none() && flags & libc::O_CREAT != 0;
        if made {
            meter.take_name()?;
        }
        let is_file = there.is_some_and(|s| s.st_mode & libc::S_IFMT == libc::S_IFREG);
        let empties = is_file && flags & libc::O_TRUNC != 0;
        let before = there.filter(|_| empties).map(|s| s.st_size.cast_unsigned());
        Ok(Self::Opened {
            meter,
            made,
            before,
            grows: (is_file || made) && flags & libc::O_ACCMODE != libc::O_RDONLY,
        })
    }

    /// Counts what was done, or gives back what was not.
    fn after(
        self,
        vfs: &Vfs,
        done: &sys::Result<Done>,
        opening: Option<Opening<'_>>,
    ) -> sys::Result<()> {
        let succeeded = matches!(done, Ok(Done::Reply(_) | Done::Sleeps(_)));
        match self {
            Self::Made(meter) if !succeeded => meter.name_gone(),
            Self::Gone(gone) if succeeded => gone.count(),
            Self::Renamed {
                meter,
                over,
                whiteout,
            } => match over {
                Some(over) if succeeded => over.count(),
                _ if whiteout && !succeeded => meter.name_gone(),
                _ => {}
            },
            Self::Opened {
                made,
                before,
                grows,
                ..
            } => {
                let Some(mut opening) = opening else {
                    return Ok(());
                };
                match done {
                    Ok(Done::Reply(Reply::AddFd { fd, .. })) => {
                        if let Some(before) = before {
                            opening.emptied(fd.as_fd(), before)?;
                        }
                        if grows {
                            opening.hold(fd.as_fd())?;
                        }
                    }
                    Ok(Done::Sleeps(_)) => {}
                    _ if made => opening.not_made(),
                    _ => {}
                }
            }
            Self::ByPath => {
                if let Ok(Done::HandOver { fd, .. }) = done
                    && let Some(meter) = vfs.meter_of_file(fd.as_fd())
                {
                    meter.by_path(fd.as_fd())?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Hands<'_> {
    /// Performs `act`.
    pub(super) fn perform(&mut self, act: Act<'_>) -> sys::Result<Done> {
        let vfs = self.vfs;
        if !vfs.is_metered() {
            return self.perform_plainly(act);
        }
        if let Act::Truncate { place, length } = &act
            && let Some(meter) = meter_of(vfs, place)
        {
            let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = {
                let mut opening = meter.opening();
                let file = self.open_now(place, flags, 0, None)?;
                opening.hold(file.as_fd())?;
                file
            };
            let change = || sys::fs::ftruncate(file.as_fd(), *length);
            meter.resize(file.as_fd(), length.cast_unsigned(), change)?;
            return Ok(Done::Reply(Reply::Return(0)));
        }
        if let Act::SetXattr { object, value, .. } = &act {
            self.room_for_attribute(object, value.len())?;
        }
        let tally = Tally::before(vfs, &act)?;
        let opening = match &tally {
            Tally::Opened { meter, .. } => Some(meter.opening()),
            _ => None,
        };
        let done = self.perform_plainly(act);
        tally.after(vfs, &done, opening)?;
        done
    }

    /// An attribute may be as large as a name counts: else files without length could hold anything.
    fn room_for_attribute(
        &self,
        object: &crate::syscall::plan::Object<'_>,
        len: usize,
    ) -> sys::Result<()> {
        use crate::syscall::plan::Object;
        let handle = match object {
            Object::Place(place) => self.vfs.handle(place)?,
            Object::Fd(fd) => sys::fs::dup_above(fd.as_fd(), 3)?,
        };
        if !self.vfs.is_in_limited(handle.as_fd()) {
            return Ok(());
        }
        let path = self.vfs.fd_path(handle.as_fd())?;
        let mut names = vec![0u8; sys::fs::listxattr(&path, &mut [])?];
        let n = sys::fs::listxattr(&path, &mut names)?;
        let mut total = len;
        for name in names
            .get(..n)
            .unwrap_or_default()
            .split_inclusive(|&b| b == 0)
        {
            let name = std::ffi::CStr::from_bytes_with_nul(name).map_err(|_| Errno::EIO)?;
            total += name.count_bytes() + sys::fs::getxattr(&path, name, &mut [])?;
        }
        match total as u64 <= crate::vfs::meter::PAGE {
            true => Ok(()),
            false => Err(Errno::ENOSPC),
        }
    }

    /// Does what may make `file` longer.
    pub(super) fn grow(&mut self, file: &OwnedFd, how: Grow<'_>) -> sys::Result<Done> {
        let file = file.as_fd();
        let done = |value| Ok(Done::Reply(Reply::Return(value)));
        let meter = self.vfs.meter_of_file(file);
        let tid = self.task.tid;
        let most = || sys::process::file_size_limit(tid);
        match how {
            Grow::Write {
                buf,
                count,
                offset,
                as_called,
            } => {
                let native = Act::Continue(as_called);
                let Some(meter) = meter else {
                    return self.perform_plainly(native);
                };
                if !may_write(file)? || count == 0 {
                    return self.perform_plainly(native);
                }
                let from = start(file, offset)?;
                let fits = meter.reach(file, from, count)?;
                if fits == count {
                    return self.perform_plainly(native);
                }
                let piece = [(buf, fits.min(MOST_COPIED))];
                let written = self.write_pieces(file, &piece, offset, 0, from, most()?);
                meter.written(file, fits, &written)?;
                done(written? as i64)
            }
            Grow::Pieces {
                pieces,
                offset,
                flags,
            } => {
                let (Some(meter), true) = (meter, may_write(file)?) else {
                    return Err(Errno::EBADF);
                };
                let total = pieces
                    .iter()
                    .fold(0u64, |n, &(_, len)| n.saturating_add(len));
                let from = match flags {
                    f if f & libc::RWF_APPEND != 0 => None,
                    // Linux 6.9: there O_APPEND doesn't count.
                    f if f & libc::RWF_NOAPPEND != 0 => Some(place(file, offset)?),
                    _ => start(file, offset)?,
                };
                let fits = meter.reach(file, from, total.min(MOST_COPIED))?;
                let mut room = fits;
                let cut: Vec<(u64, u64)> = pieces
                    .iter()
                    .map(|&(at, len)| {
                        let len = len.min(room);
                        room -= len;
                        (at, len)
                    })
                    .collect();
                let written = self.write_pieces(file, &cut, offset, flags, from, most()?);
                meter.written(file, fits, &written)?;
                done(written? as i64)
            }
            Grow::Resize { length, as_called } => {
                if length > most()? {
                    // EFBIG, and a signal.
                    return self.perform_plainly(Act::Continue(as_called));
                }
                let signed = i64::try_from(length).map_err(|_| Errno::EFBIG)?;
                let change = || sys::fs::ftruncate(file, signed);
                match meter {
                    Some(meter) if may_write(file)? => meter.resize(file, length, change)?,
                    _ => change()?,
                }
                done(0)
            }
            Grow::Allocate {
                mode,
                offset,
                len,
                as_called,
            } => {
                let end = offset.saturating_add(len);
                if end.cast_unsigned() > most()? {
                    return self.perform_plainly(Act::Continue(as_called));
                }
                let Some(meter) = meter.filter(|_| may_write(file) == Ok(true)) else {
                    sys::fs::fallocate(file, mode, offset, len)?;
                    return done(0);
                };
                allocate(meter, file, mode, offset, len)?;
                done(0)
            }
            Grow::Copy {
                from,
                from_at,
                to_at,
                len,
            } => {
                let (Some(meter), true) = (meter, may_write(file)?) else {
                    return Err(Errno::EBADF);
                };
                let source = sys::fs::fstat(from.as_fd())?;
                if source.st_mode & libc::S_IFMT != libc::S_IFREG {
                    return Err(Errno::EINVAL);
                }
                let read_at = match from_at {
                    Some((_, at)) => at,
                    None => sys::fs::lseek(from.as_fd(), 0, libc::SEEK_CUR)?,
                };
                let left = source
                    .st_size
                    .saturating_sub(read_at)
                    .max(0)
                    .cast_unsigned();
                let len = len.min(left).min(MOST_COPIED);
                if len == 0 {
                    return done(0);
                }
                let start = start(file, to_at.map(|(_, at)| at.cast_unsigned()))?;
                let fits = meter.reach(file, start, len)?;
                let (mut source_at, mut target_at) =
                    (from_at.map(|(_, at)| at), to_at.map(|(_, at)| at));
                let copied = sys::fs::copy_between(
                    from.as_fd(),
                    source_at.as_mut(),
                    file,
                    target_at.as_mut(),
                    usize::try_from(fits).map_err(|_| Errno::EINVAL)?,
                );
                meter.written(file, fits, &copied)?;
                let n = copied?;
                for (asked, now) in [(from_at, source_at), (to_at, target_at)] {
                    if let Some(((addr, _), now)) = asked.zip(now) {
                        self.mem.write(addr, &now.to_ne_bytes())?;
                    }
                }
                done(n as i64)
            }
        }
    }

    /// Copies bytes of the guest and writes them to `file`: what could be read of them.
    fn write_pieces(
        &mut self,
        file: BorrowedFd<'_>,
        pieces: &[(u64, u64)],
        offset: Option<u64>,
        flags: i32,
        from: Option<u64>,
        most: u64,
    ) -> sys::Result<usize> {
        if from.is_some_and(|from| from >= most) {
            // setrlimit(2), RLIMIT_FSIZE.
            sys::process::tgkill(self.task.group.tgid, self.task.tid, libc::SIGXFSZ)?;
            return Err(Errno::EFBIG);
        }
        let below = most.saturating_sub(from.unwrap_or(0));
        let mut data = Vec::new();
        for &(addr, len) in pieces {
            let at = data.len();
            let len = len.min(below.saturating_sub(at as u64));
            data.resize(at + usize::try_from(len).map_err(|_| Errno::EINVAL)?, 0);
            let piece = data.get_mut(at..).unwrap_or_default();
            let wanted = piece.len();
            let got = match self.mem.read(addr, piece) {
                Err(errno) if at == 0 && wanted > 0 => return Err(errno),
                other => other.unwrap_or(0),
            };
            data.truncate(at + got);
            if got < wanted {
                break;
            }
        }
        let offset = offset.map_or(-1, u64::cast_signed);
        sys::fs::write_at(file, &data, offset, flags)
    }
}

fn may_write(file: BorrowedFd<'_>) -> sys::Result<bool> {
    Ok(sys::fs::status_flags(file)? & libc::O_ACCMODE != libc::O_RDONLY)
}

/// Where a write begins; `None`: at the end.
fn start(file: BorrowedFd<'_>, offset: Option<u64>) -> sys::Result<Option<u64>> {
    // O_APPEND wins over the offset (pwrite(2), "BUGS").
    if sys::fs::status_flags(file)? & libc::O_APPEND != 0 {
        return Ok(None);
    }
    place(file, offset).map(Some)
}

/// The offset, or the file's position.
fn place(file: BorrowedFd<'_>, offset: Option<u64>) -> sys::Result<u64> {
    match offset {
        Some(offset) => Ok(offset),
        None => Ok(sys::fs::lseek(file, 0, libc::SEEK_CUR)?.cast_unsigned()),
    }
}

/// fallocate(2) of a counted file.
fn allocate(
    meter: &Meter,
    file: BorrowedFd<'_>,
    mode: i32,
    offset: i64,
    len: i64,
) -> sys::Result<()> {
    let shortens = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_COLLAPSE_RANGE;
    if mode & shortens == 0 {
        meter.has_kept(file)?;
    }
    let size = sys::fs::fstat(file)?.st_size;
    let end = offset.saturating_add(len);
    // Blocks behind the end, which no length tells.
    if mode & libc::FALLOC_FL_KEEP_SIZE != 0 && mode & libc::FALLOC_FL_PUNCH_HOLE == 0 && end > size
    {
        return Err(Errno::EOPNOTSUPP);
    }
    let new = match mode {
        m if m & shortens != 0 => size,
        m if m & libc::FALLOC_FL_INSERT_RANGE != 0 => size.saturating_add(len),
        _ => end.max(size),
    };
    let (size, new) = (size.cast_unsigned(), new.cast_unsigned());
    if new > size && meter.reach(file, Some(size), new - size)? < new - size {
        meter.measure(file)?;
        return Err(Errno::ENOSPC);
    }
    let done = sys::fs::fallocate(file, mode, offset, len);
    meter.measure(file)?;
    done
}
