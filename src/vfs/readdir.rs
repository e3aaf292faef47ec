//! Directory listings, getdents64(2).
//!
//! A host directory in which no mount begins is read by the kernel from the guest's own descriptor.
//! Any other listing is made here: names sorted by a hash, the hash being the position (`d_off`), and numbers behind them in
//! order: so the kernel lists processes, threads and descriptors (proc(5)), and ps(1) shows them.
//! So the position in the guest's descriptor is all the state there is, and rewinding, seeking,
//! duplicating and forking keep their meaning.

use super::cow::Reader;
use super::dir::{Dir, Inode};
use super::fs::{SynthDir, name_hash};
use super::path::VPath;
use super::{Caller, Vfs, lock};
use crate::policy::within::Within;
use crate::sys::{self, Errno};
use bumpalo::Bump;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A listing that the view makes: records by position.
#[derive(Debug)]
pub struct Listing {
    /// All names, one after the other.
    names: Vec<u8>,
    entries: Vec<Entry>,
}

/// The names that several layers and the mount table have for one directory; the lowest rank decides
/// what a name is.
#[derive(Debug, Default)]
pub(super) struct Draft {
    names: Vec<u8>,
    entries: Vec<(u16, Entry)>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    position: u32,
    /// Where its name lies in `names`.
    start: u32,
    length: u16,
    /// [`HIDDEN`]: there is no such name, whatever higher ranks say.
    kind: u8,
    inode: u64,
}

/// No type that getdents64(2) knows.
const HIDDEN: u8 = u8::MAX;
/// The rank of what the mount table says.
const MOUNTED: u16 = 0;
/// The rank of a directory's own names, where there are no layers.
const OWN: u16 = 1;

/// Bytes before the name in a `struct linux_dirent64`; `struct linux_dirent` has as many minus the
/// type byte, which stands at its end.
const HEADER: usize = 19;
const OLD_HEADER: usize = 18;

impl Entry {
    fn name<'n>(&self, names: &'n [u8]) -> &'n [u8] {
        let start = self.start as usize;
        names
            .get(start..start + usize::from(self.length))
            .unwrap_or_default()
    }
}

/// Where a name stands in a listing.
fn position(name: &[u8]) -> u32 {
    /// Far above the greatest number of a process or descriptor.
    const NUMBERS: u32 = 1 << 28;
    let number = || match name {
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
            str::from_utf8(name).ok()?.parse().ok()
        }
        b"0" => Some(0),
        _ => None,
    };
    match name {
        b"." => 1,
        b".." => 2,
        _ => match number() {
            Some(number) if number < NUMBERS => NUMBERS + number,
            // Room for the two above.
            _ => (name_hash(name) & (NUMBERS - 16)).max(16),
        },
    }
}

impl Draft {
    /// Most directories are small.
    pub(super) fn with_room() -> Self {
        Self {
            names: Vec::with_capacity(2048),
            entries: Vec::with_capacity(128),
        }
    }

    pub(super) fn add(&mut self, name: &[u8], inode: u64, kind: u8, rank: u16) {
        let position = position(name);
        // No file system has longer names, and no directory as many.
        let (Ok(start), Ok(length)) = (u32::try_from(self.names.len()), u16::try_from(name.len()))
        else {
            return;
        };
        self.names.extend_from_slice(name);
        let entry = Entry {
            position,
            start,
            length,
            kind,
            inode,
        };
        self.entries.push((rank, entry));
    }

    /// Drops names.
    fn keep(&mut self, shown: impl Fn(&[u8]) -> bool) {
        let names = &self.names;
        self.entries.retain(|(_, entry)| shown(entry.name(names)));
    }

    pub(super) fn hide(&mut self, name: &[u8], rank: u16) {
        self.add(name, 0, HIDDEN, rank);
    }

    /// Each name once. Of names with one hash the later ones move on to the next free position.
    pub(super) fn finish(self) -> Listing {
        let Self { names, mut entries } = self;
        entries.sort_unstable_by(|(rank, a), (other, b)| {
            let by_name = || a.name(&names).cmp(b.name(&names));
            let by_position = a.position.cmp(&b.position);
            by_position.then_with(by_name).then(rank.cmp(other))
        });
        let mut listed: Vec<Entry> = Vec::with_capacity(entries.len());
        let (mut decided, mut free) = (None, 0);
        for (_, mut entry) in entries {
            let name = entry.name(&names);
            if decided.replace(name) == Some(name) || entry.kind == HIDDEN {
                continue;
            }
            entry.position = entry.position.max(free);
            free = entry.position + 1;
            listed.push(entry);
        }
        Listing {
            names,
            entries: listed,
        }
    }
}

impl Listing {
    /// Name, inode and type of each entry, by position.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], u64, u8)> {
        self.entries
            .iter()
            .map(|entry| (entry.name(&self.names), entry.inode, entry.kind))
    }

    /// Encodes records after `position` into at most `room` bytes; the records and the position
    /// behind the last one. `old` asks for the layout of getdents(2). EINVAL if not even one
    /// record fits.
    pub fn encode(&self, position: i64, room: usize, old: bool) -> sys::Result<(Vec<u8>, i64)> {
        let after = u32::try_from(position.max(0)).unwrap_or(u32::MAX);
        let mut last = position;
        let header = if old { OLD_HEADER + 1 } else { HEADER };
        let first = self.entries.partition_point(|e| e.position <= after);
        // A name mostly has no more than some twenty bytes.
        let mut out = Vec::with_capacity(room.min((self.entries.len() - first) * 48));
        for entry in self.entries.get(first..).unwrap_or_default() {
            let (at, name) = (entry.position, entry.name(&self.names));
            let len = (header + name.len() + 1).next_multiple_of(8);
            if out.len() + len > room {
                if out.is_empty() {
                    return Err(Errno::EINVAL);
                }
                break;
            }
            let start = out.len();
            out.extend_from_slice(&entry.inode.to_ne_bytes());
            out.extend_from_slice(&u64::from(at).to_ne_bytes());
            out.extend_from_slice(&(len as u16).to_ne_bytes());
            if !old {
                out.push(entry.kind);
            }
            out.extend_from_slice(name);
            out.resize(start + len, 0);
            if old && let Some(last_byte) = out.last_mut() {
                *last_byte = entry.kind;
            }
            last = i64::from(at);
        }
        Ok((out, last))
    }
}

/// Turns records of getdents64(2) into those of getdents(2), in place: the type moves from before
/// the name to the last byte of the record, which has room for it.
pub(crate) fn to_old_layout(records: &mut [u8]) {
    let mut at = 0;
    while let Some(record) = records.get_mut(at..) {
        let (Some(&lo), Some(&hi)) = (record.get(16), record.get(17)) else {
            return;
        };
        let len = usize::from(u16::from_ne_bytes([lo, hi]));
        let Some(record) = record.get_mut(..len) else {
            return;
        };
        if len <= HEADER {
            return;
        }
        let kind = record.get(OLD_HEADER).copied().unwrap_or(0);
        record.copy_within(HEADER.., OLD_HEADER);
        if let Some(last) = record.last_mut() {
            *last = kind;
        }
        at += len;
    }
}

/// A listing that somebody is reading, of a copy-on-write directory.
pub(super) struct Listed {
    dir: Arc<Dir>,
    /// What the reader holds.
    inode: Inode,
    /// Its process, and the policies that it was within.
    reader: (i32, Within),
    listing: Arc<Listing>,
    made: Instant,
}

/// So many are kept, and so long: who reads on after that gets names that came and went since.
const MAX_LISTED: usize = 8;
const LISTED_FOR: Duration = Duration::from_secs(2);

impl Listed {
    fn is_fresh(&self) -> bool {
        self.made.elapsed() < LISTED_FOR
    }
}

impl Vfs {
    /// The listing of the directory that a guest holds by `fd`, read up to `position`, where the view differs from the kernel's; `None` if it
    /// doesn't.
    ///
    /// Every directory whose listing isn't the kernel's was entered here before a guest could hold it. ENOTDIR for what is
    /// no directory.
    pub fn listing_of(
        &self,
        fd: BorrowedFd<'_>,
        position: i64,
        who: Caller<'_>,
    ) -> sys::Result<Option<Arc<Listing>>> {
        let stat = sys::fs::fstat(fd)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let inode = (stat.st_dev, stat.st_ino);
        let reader = Reader {
            fd,
            inode,
            position,
        };
        if lock(&self.placeholders).contains_key(&inode) || lock(&self.mixed).contains(&inode) {
            let dir = self.dir_of(sys::fs::dup_above(fd, 0)?)?;
            return self.listing_from(&dir, &reader, who);
        }
        // What happens to names while a directory is being read may show or not (readdir(3)), so a large one is not put together
        // again for every piece of it.
        if position > 0 {
            let listed = lock(&self.listed);
            let known = listed
                .iter()
                .find(|l| l.inode == inode && l.reader == self.reader(who) && l.is_fresh());
            if let Some(known) = known {
                return Ok(Some(Arc::clone(&known.listing)));
            }
        }
        match self.cow_dir_held(fd, inode)? {
            Some(dir) => self.listing_from(&dir, &reader, who),
            None if self.names.is_some() => match self.dir_of(sys::fs::dup_above(fd, 0)?) {
                Ok(dir) => self.listing_from(&dir, &reader, who),
                // Passed in from outside, as a whole.
                Err(Errno::ENOENT) => Ok(None),
                Err(errno) => Err(errno),
            },
            None => Ok(None),
        }
    }

    fn reader(&self, who: Caller<'_>) -> (i32, Within) {
        (who.tgid, self.within())
    }

    fn listing_from(
        &self,
        dir: &Arc<Dir>,
        reader: &Reader<'_>,
        who: Caller<'_>,
    ) -> sys::Result<Option<Arc<Listing>>> {
        if dir.cow().is_none() {
            return Ok(self.listing(dir, None, who)?.map(Arc::new));
        }
        let mut listed = lock(&self.listed);
        let is_this = |l: &Listed| l.reader == self.reader(who) && l.dir.is_same(dir);
        listed.retain(|l| l.is_fresh() && (reader.position > 0 || !is_this(l)));
        if let Some(known) = listed.iter().find(|l| is_this(l)) {
            return Ok(Some(Arc::clone(&known.listing)));
        }
        drop(listed);
        let Some(listing) = self.listing(dir, Some(reader), who)?.map(Arc::new) else {
            return Ok(None);
        };
        let mut listed = lock(&self.listed);
        if listed.len() >= MAX_LISTED {
            listed.remove(0);
        }
        listed.push(Listed {
            dir: Arc::clone(dir),
            inode: reader.inode,
            reader: self.reader(who),
            listing: Arc::clone(&listing),
            made: Instant::now(),
        });
        Ok(Some(listing))
    }

    /// Lets go of a directory that is no more: its watchers wait for its end (inotify(7)).
    pub(super) fn forget_listing(&self, path: &VPath) {
        lock(&self.listed).retain(|l| l.dir.path() != Some(path));
    }

    /// The listing of `dir` where the view differs from the kernel's; `None` if it doesn't.
    fn listing(
        &self,
        dir: &Arc<Dir>,
        reader: Option<&Reader<'_>>,
        who: Caller<'_>,
    ) -> sys::Result<Option<Listing>> {
        let has_mounts = dir
            .node
            .is_some_and(|node| self.table.children(node).next().is_some());
        let as_the_kernel_says = match dir.cow() {
            Some(cow) => cow.plain()?.is_some(),
            None => dir.host().is_some(),
        };
        let in_part = self.lists_in_part(dir);
        if as_the_kernel_says && !has_mounts && !in_part {
            return Ok(None);
        }
        let mut listing = match dir.cow() {
            Some(cow) => cow.draft(reader)?,
            None => Draft::default(),
        };
        let arena = Bump::new();
        match (dir.host(), dir.synth()) {
            (Some(fd), _) => self.add_host_names(&mut listing, fd)?,
            (None, Some(what)) => {
                let own = self.inode_of(dir)?.1;
                listing.add(b".", own, libc::DT_DIR, OWN);
                let above = self.find(who, dir, c"..", super::Follow::Last, &arena)?;
                let above = above.stat.map_or(own, |s| s.st_ino);
                listing.add(b"..", above, libc::DT_DIR, OWN);
                self.add_synth_names(&mut listing, what, own, who);
            }
            (None, None) => {}
        }
        if in_part {
            listing.keep(|name| matches!(name, b"." | b"..") || !self.hides(dir, name));
        }
        if let Some(node) = dir.node {
            for (name, child) in self.table.children(node) {
                let Ok(text) = CString::new(name) else {
                    continue;
                };
                let shown = match self.table.is_gone(child) {
                    true => None,
                    false => {
                        self.find(who, dir, &text, super::Follow::Never, &arena)?
                            .stat
                    }
                };
                match shown {
                    Some(stat) => {
                        let kind = ((stat.st_mode & libc::S_IFMT) >> 12) as u8;
                        listing.add(name, stat.st_ino, kind, MOUNTED);
                    }
                    None => listing.hide(name, MOUNTED),
                }
            }
        }
        Ok(Some(listing.finish()))
    }

    fn add_host_names(&self, listing: &mut Draft, fd: BorrowedFd<'_>) -> sys::Result<()> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let own = sys::fs::openat(fd, c".", flags, 0)?;
        let mut buf = vec![0u8; 32 * 1024];
        loop {
            let n = sys::fs::getdents64(own.as_fd(), &mut buf)?;
            if n == 0 {
                return Ok(());
            }
            let mut records = buf.get(..n).unwrap_or_default();
            while let Some((inode, kind, name, rest)) = first_record(records) {
                listing.add(name, inode, kind, OWN);
                records = rest;
            }
        }
    }

    fn add_synth_names(&self, listing: &mut Draft, what: SynthDir, own: u64, who: Caller<'_>) {
        for (name, kind) in self.synth_names(what, who) {
            // The inode is what stat says, where that costs nothing; else a stand-in that is not 0,
            // which readdir(3) would take for a deleted entry.
            let inode = own ^ (u64::from(name_hash(&name)) << 8) | 1;
            listing.add(&name, inode, kind, OWN);
        }
    }
}

/// Splits the first `struct linux_dirent64` off: inode, type, name, what follows.
pub(super) fn first_record(records: &[u8]) -> Option<(u64, u8, &[u8], &[u8])> {
    let inode = u64::from_ne_bytes(records.get(..8)?.try_into().ok()?);
    let len = usize::from(u16::from_ne_bytes(records.get(16..18)?.try_into().ok()?));
    let kind = *records.get(18)?;
    let name = records.get(HEADER..len)?;
    let end = name.iter().position(|&b| b == 0)?;
    Some((inode, kind, name.get(..end)?, records.get(len..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(records: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        let mut rest = records;
        while let Some((_, _, name, next)) = first_record(rest) {
            out.push(String::from_utf8(name.to_vec()).unwrap());
            rest = next;
        }
        out
    }

    fn of(entries: &[(&[u8], u64, u8, u16)]) -> Listing {
        let mut draft = Draft::default();
        for &(name, inode, kind, rank) in entries {
            draft.add(name, inode, kind, rank);
        }
        draft.finish()
    }

    #[test]
    fn the_lowest_rank_decides() {
        let listing = of(&[
            (b"both", 3, libc::DT_REG, 3),
            (b"both", 2, libc::DT_DIR, 2),
            (b"gone", 3, libc::DT_REG, 3),
            (b"gone", 0, HIDDEN, 1),
            (b"back", 2, libc::DT_REG, 1),
            (b"back", 0, HIDDEN, 2),
            (b"back", 3, libc::DT_REG, 3),
            (b"below", 3, libc::DT_REG, 3),
        ]);
        let mut all: Vec<_> = listing.entries().collect();
        all.sort();
        assert_eq!(
            all,
            [
                (&b"back"[..], 2, libc::DT_REG),
                (b"below", 3, libc::DT_REG),
                (b"both", 2, libc::DT_DIR)
            ]
        );
    }

    #[test]
    fn names_with_one_hash_have_positions_of_their_own() {
        // 16 hashes share a position, so among so many names some do.
        let mut draft = Draft::default();
        for n in 0..200_000 {
            draft.add(format!("n{n}").as_bytes(), 1, libc::DT_REG, OWN);
        }
        let listing = draft.finish();
        assert_eq!(listing.entries.len(), 200_000);
        let wanted = |e: &Entry| position(e.name(&listing.names));
        let moved = listing.entries.iter().filter(|e| e.position != wanted(e));
        assert!(moved.count() > 10);
        assert!(listing.entries.is_sorted_by(|a, b| a.position < b.position));
    }

    #[test]
    fn numbers_stand_in_order_behind_all_other_names() {
        let mut draft = Draft::default();
        let names = [
            "10",
            "9",
            "self",
            "2",
            "0",
            "01",
            "4194303",
            "99999999999",
            "3x",
            "1",
        ];
        for name in names {
            draft.add(name.as_bytes(), 1, libc::DT_DIR, OWN);
        }
        let listing = draft.finish();
        let all: Vec<&[u8]> = listing.entries().map(|(name, ..)| name).collect();
        let numbers: [&[u8]; 6] = [b"0", b"1", b"2", b"9", b"10", b"4194303"];
        assert_eq!(all[4..], numbers);
    }

    #[test]
    fn a_listing_read_in_small_pieces_is_whole_and_has_no_doubles() {
        let mut listing = Draft::default();
        for n in 0..500 {
            listing.add(format!("file{n}").as_bytes(), n + 1, libc::DT_REG, OWN);
        }
        listing.add(b".", 1, libc::DT_DIR, OWN);
        let listing = listing.finish();
        let (mut position, mut seen) = (0, Vec::new());
        loop {
            let (records, next) = listing.encode(position, 100, false).unwrap();
            if records.is_empty() {
                break;
            }
            seen.extend(names(&records));
            position = next;
        }
        assert_eq!(seen.len(), 501);
        assert_eq!(seen[0], ".");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 501);
    }

    #[test]
    fn a_buffer_without_room_for_one_record_is_einval() {
        let listing = of(&[(b"name", 1, libc::DT_REG, OWN)]);
        assert_eq!(listing.encode(0, 16, false).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn the_old_layout_has_the_type_last() {
        let listing = of(&[(b"ab", 7, libc::DT_LNK, OWN)]);
        let (mut new, _) = listing.encode(0, 100, false).unwrap();
        let (old, _) = listing.encode(0, 100, true).unwrap();
        to_old_layout(&mut new);
        assert_eq!(new, old);
        assert_eq!(*old.last().unwrap(), libc::DT_LNK);
        assert_eq!(&old[18..21], b"ab\0");
    }
}
