//! What the comparison with overlayfs doesn't reach: links between names of one file, what new files
//! inherit, what isn't copied, whose rights count.

use crate::oracle::open;
use crate::support::{self, Named, Skip, Test};
use crate::tree::c_path;
use nix::unistd::geteuid;
use sbox::sys::{self, Errno};
use sbox::vfs::cow::{Cow, CowDir, Entry, Sync};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn all() -> Vec<Named> {
    crate::tests![
        what_is_made_anew_hides_what_was_there,
        names_of_one_file_stay_one_file,
        holes_stay_holes,
        what_cannot_be_read_is_not_invented,
        rights_to_the_original_decide,
        a_store_is_opened_once_and_cleaned,
        new_files_inherit_as_in_a_plain_directory,
        sockets_and_devices_are_not_copied,
        a_fifo_of_a_lower_leads_nowhere_outside,
        a_file_opened_to_be_locked_is_copied,
        what_was_seen_is_opened_or_nothing,
        markers_are_whiteouts,
        changes_of_a_lower_show,
        a_moved_directory_stays_the_same,
        a_file_of_a_lower_gets_no_name_in_the_upper,
        crate::crashes::being_killed_tears_nothing,
        crate::crashes::threads_copy_once,
        crate::steps::a_change_is_made_whole_or_not_at_all,
    ]
}

/// A store and one lower, in a directory of their own.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = support::scratch();
        for name in ["lower", "store"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn lower(&self, name: &str) -> PathBuf {
        self.dir.path().join("lower").join(name)
    }

    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.dir.path().join("store").join(name)
    }

    pub(crate) fn open(&self) -> Cow {
        open(&self.store(""), &[self.lower("")])
    }
}

fn text(dir: &Arc<CowDir>, name: &CStr) -> String {
    let mut text = String::new();
    let file = dir.open(name, libc::O_RDONLY, 0).unwrap();
    File::from(file).read_to_string(&mut text).unwrap();
    text
}

fn put(dir: &Arc<CowDir>, name: &CStr, text: &str) {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    let file = dir.open(name, flags, 0o644).unwrap();
    File::from(file).write_all(text.as_bytes()).unwrap();
}

pub(crate) fn names_in(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn need_ordinary_user() -> Test {
    if geteuid().is_root() {
        return Err(Skip("root may read and change everything".to_owned()));
    }
    Ok(())
}

/// Of a directory that was removed nothing comes back: not in one of the same name, nor deeper in
/// it, nor in one moved or exchanged there, nor in the next run.
fn what_is_made_anew_hides_what_was_there() -> Test {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        fs::create_dir_all(place.lower(&format!("{name}/deep"))).unwrap();
        fs::write(place.lower(&format!("{name}/deep/f")), "old").unwrap();
    }
    let check = |cow: &Cow| {
        for name in [c"a", c"b", c"c"] {
            let dir = cow.root().open_dir(name).unwrap();
            assert_eq!(
                crate::tree::engine_names(&dir).unwrap().len(),
                1,
                "{name:?}"
            );
            let deep = dir.open_dir(c"deep").unwrap();
            assert_eq!(crate::tree::engine_names(&deep).unwrap(), [], "{name:?}");
            assert_eq!(deep.stat(c"f").unwrap_err(), Errno::ENOENT);
        }
    };
    {
        let cow = place.open();
        let root = cow.root();
        for name in [c"a", c"b", c"c"] {
            let dir = root.open_dir(name).unwrap();
            dir.open_dir(c"deep").unwrap().unlink(c"f").unwrap();
            dir.rmdir(c"deep").unwrap();
            root.rmdir(name).unwrap();
        }
        // Made below a new directory, they need no mark where they are made.
        root.mkdir(c"new", 0o755).unwrap();
        let new = root.open_dir(c"new").unwrap();
        for name in [c"b", c"c"] {
            new.mkdir(name, 0o755).unwrap();
            new.open_dir(name).unwrap().mkdir(c"deep", 0o755).unwrap();
        }
        root.mkdir(c"a", 0o755).unwrap();
        root.open_dir(c"a").unwrap().mkdir(c"deep", 0o755).unwrap();
        new.rename(c"b", root, c"b", 0).unwrap();
        put(root, c"c", "a file");
        new.rename(c"c", root, c"c", libc::RENAME_EXCHANGE).unwrap();
        check(&cow);
        // A directory that can't be read keeps its mark.
        root.chmod(c"a", 0o300).unwrap();
    }
    let cow = place.open();
    if !geteuid().is_root() {
        let a = cow.root().open_dir(c"a").unwrap();
        assert_eq!(
            a.open_dir(c"deep").unwrap().stat(c"f").unwrap_err(),
            Errno::ENOENT
        );
    }
    cow.root().chmod(c"a", 0o755).unwrap();
    check(&cow);
    Ok(())
}

fn names_of_one_file_stay_one_file() -> Test {
    let place = Place::new();
    fs::write(place.lower("a"), "old").unwrap();
    fs::create_dir(place.lower("d")).unwrap();
    fs::hard_link(place.lower("a"), place.lower("d/b")).unwrap();
    fs::hard_link(place.lower("a"), place.lower("c")).unwrap();
    {
        let cow = place.open();
        let root = cow.root();
        put(root, c"a", "new");
        let d = root.open_dir(c"d").unwrap();
        assert_eq!(
            text(&d, c"b"),
            "new",
            "not copied, but changed under its other name"
        );
        let file = d.open(c"b", libc::O_WRONLY | libc::O_APPEND, 0).unwrap();
        File::from(file).write_all(b"er").unwrap();
        assert_eq!(text(root, c"a"), "newer");
        let same = |x: libc::stat, y: libc::stat| (x.st_dev, x.st_ino) == (y.st_dev, y.st_ino);
        assert!(same(root.stat(c"a").unwrap(), d.stat(c"b").unwrap()));
        root.unlink(c"a").unwrap();
        d.unlink(c"b").unwrap();
        assert_eq!(text(root, c"c"), "newer");
    }
    let cow = place.open();
    assert_eq!(text(cow.root(), c"c"), "newer", "in the next run");
    put(cow.root(), c"c", "newest");
    assert!(matches!(cow.root().lookup(c"c"), Ok(Entry::Upper(_))));
    assert_eq!(text(cow.root(), c"c"), "newest");
    assert_eq!(fs::read_to_string(place.lower("a")).unwrap(), "old");
    Ok(())
}

fn holes_stay_holes() -> Test {
    let place = Place::new();
    let file = File::create(place.lower("sparse")).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"middle", 5 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    let cow = place.open();
    cow.root().copy_up(c"sparse").unwrap();
    let stat = cow.root().stat(c"sparse").unwrap();
    assert!(matches!(cow.root().lookup(c"sparse"), Ok(Entry::Upper(_))));
    assert_eq!(stat.st_size, 64 << 20);
    assert!(stat.st_blocks < 1 << 10, "{} blocks", stat.st_blocks);
    assert_eq!(
        fs::read(place.lower("sparse")).unwrap(),
        fs::read(place.store("upper/sparse")).unwrap()
    );
    Ok(())
}

fn what_cannot_be_read_is_not_invented() -> Test {
    need_ordinary_user()?;
    let place = Place::new();
    fs::create_dir(place.lower("d")).unwrap();
    fs::write(place.lower("d/secret"), "x").unwrap();
    fs::set_permissions(place.lower("d/secret"), fs::Permissions::from_mode(0o200)).unwrap();
    let cow = place.open();
    let d = cow.root().open_dir(c"d").unwrap();
    for flags in [libc::O_WRONLY, libc::O_WRONLY | libc::O_CREAT] {
        assert_eq!(d.open(c"secret", flags, 0o600).unwrap_err(), Errno::EACCES);
    }
    assert_eq!(d.chmod(c"secret", 0o600).unwrap_err(), Errno::EACCES);
    assert_eq!(names_in(&place.store("upper")), [""; 0]);
    assert_eq!(names_in(&place.store("work")), [""; 0]);
    Ok(())
}

/// A copy would be ours; what we may do to it is decided by what we may do to the original.
fn rights_to_the_original_decide() -> Test {
    need_ordinary_user()?;
    let place = Place::new();
    let etc = sys::fs::open(c"/etc", libc::O_PATH | libc::O_DIRECTORY).unwrap();
    let store = sys::fs::open(&c_path(&place.store("")), libc::O_PATH).unwrap();
    let cow = Cow::open(store.as_fd(), vec![etc], Sync::Never).unwrap();
    let (root, me) = (cow.root(), geteuid().as_raw());
    // The root of the copy is the user's; below, the original's owner still counts.
    root.chmod(c".", 0o755).unwrap();
    let rows: [(&str, sys::Result<()>, Errno); 8] = [
        (
            "open",
            root.open(c"passwd", libc::O_RDWR, 0).map(drop),
            Errno::EACCES,
        ),
        ("truncate", root.truncate(c"passwd", 0), Errno::EACCES),
        (
            "access",
            root.access(c"passwd", libc::W_OK, 0),
            Errno::EACCES,
        ),
        ("chmod", root.chmod(c"passwd", 0o666), Errno::EPERM),
        ("chown", root.chown(c"passwd", me, u32::MAX), Errno::EPERM),
        ("touch", root.set_times(c"passwd", None), Errno::EACCES),
        (
            "attribute",
            root.set_xattr(c"passwd", c"user.x", b"", 0),
            Errno::EACCES,
        ),
        ("link", root.link(c"passwd", root, c"mine"), Errno::EPERM),
    ];
    for (call, result, expected) in rows {
        assert_eq!(result.unwrap_err(), expected, "{call}");
    }
    let file = root
        .open(c"passwd", libc::O_RDONLY | libc::O_CREAT, 0)
        .unwrap();
    assert_eq!(
        sys::fs::fstat(file.as_fd()).unwrap().st_ino,
        sys::fs::stat(c"/etc/passwd").unwrap().st_ino,
        "not copied"
    );
    assert_eq!(names_in(&place.store("upper")), [""; 0]);
    Ok(())
}

fn a_store_is_opened_once_and_cleaned() -> Test {
    let place = Place::new();
    fs::write(place.lower("f"), "x").unwrap();
    let first = place.open();
    let store = sys::fs::open(&c_path(&place.store("")), libc::O_PATH).unwrap();
    let lower = || sys::fs::open(&c_path(&place.lower("")), libc::O_PATH).unwrap();
    let again = Cow::open(store.as_fd(), vec![lower()], Sync::Never);
    assert_eq!(again.unwrap_err(), Errno::EBUSY);
    first.root().unlink(c"f").unwrap();
    drop(first);
    // As if it had been killed in the middle of taking a directory down.
    let left = place.store("work/t7/deep");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("torn"), "to").unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o000)).unwrap();
    let cow = place.open();
    assert_eq!(names_in(&place.store("work")), [""; 0]);
    assert!(matches!(cow.root().lookup(c"f"), Ok(Entry::Whiteout)));
    assert_eq!(
        Cow::open(store.as_fd(), vec![], Sync::Never).unwrap_err(),
        Errno::EINVAL
    );
    Ok(())
}

/// acl(5): owner rwx, user 1 r-x, group r-x, mask rwx, others none.
fn access_list() -> Vec<u8> {
    let mut list = 2u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, perm, id) in [
        (1u16, 7u16, none),
        (2, 5, geteuid().as_raw()), // in a user namespace there may be no other
        (4, 5, none),
        (16, 7, none),
        (32, 0, none),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(perm.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Setgid directories and default access lists: in a copied directory, and where a whiteout stood,
/// new files come out as in a plain directory.
fn new_files_inherit_as_in_a_plain_directory() -> Test {
    let place = Place::new();
    for (name, plain) in [("lower/d", false), ("plain", true)] {
        let path = place.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        let held = sys::fs::open(&c_path(&path), libc::O_RDONLY).unwrap();
        match sys::fs::fsetxattr(held.as_fd(), c"system.posix_acl_default", &access_list(), 0) {
            Err(Errno::EOPNOTSUPP) => return Err(Skip("no access lists here".to_owned())),
            other => other.unwrap(),
        }
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, None, Some(12)).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2770)).unwrap();
        if !plain {
            for name in ["f", "g"] {
                fs::write(path.join(name), "x").unwrap();
            }
        }
    }
    let cow = place.open();
    let d = cow.root().open_dir(c"d").unwrap();
    let plain = sys::fs::open(&c_path(&place.dir.path().join("plain")), libc::O_PATH).unwrap();
    // Two where whiteouts stand, two where nothing was.
    for name in [c"f", c"g"] {
        d.unlink(name).unwrap();
    }
    for (file, dir) in [(c"f", c"g"), (c"new", c"newer")] {
        drop(d.open(file, libc::O_WRONLY | libc::O_CREAT, 0o666).unwrap());
        d.mkdir(dir, 0o777).unwrap();
        let flags = libc::O_WRONLY | libc::O_CREAT;
        drop(sys::fs::openat(plain.as_fd(), file, flags, 0o666).unwrap());
        sys::fs::mkdirat(plain.as_fd(), dir, 0o777).unwrap();
        for name in [file, dir] {
            let inherited = |dir: BorrowedFd<'_>| {
                let stat = sys::fs::fstatat(dir, name, 0).unwrap();
                let held = sys::fs::openat(dir, name, libc::O_RDONLY, 0).unwrap();
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
                let path = CString::new(path).unwrap();
                let list = |name| {
                    let mut buf = vec![0; 200];
                    let n = sys::fs::getxattr(&path, name, &mut buf)?;
                    buf.truncate(n);
                    sys::Result::Ok(buf)
                };
                let lists = (
                    list(c"system.posix_acl_access"),
                    list(c"system.posix_acl_default"),
                );
                (format!("{:o}", stat.st_mode), stat.st_gid, lists)
            };
            assert_eq!(
                inherited(d.top().unwrap()),
                inherited(plain.as_fd()),
                "{name:?}"
            );
        }
    }
    Ok(())
}

fn sockets_and_devices_are_not_copied() -> Test {
    let place = Place::new();
    let lower = sys::fs::open(&c_path(&place.lower("")), libc::O_PATH).unwrap();
    sys::fs::mknodat(lower.as_fd(), c"socket", libc::S_IFSOCK | 0o666, 0).unwrap();
    let cow = place.open();
    let root = cow.root();
    assert_eq!(root.chmod(c"socket", 0o600).unwrap_err(), Errno::EPERM);
    assert_eq!(
        root.rename(c"socket", root, c"s", 0).unwrap_err(),
        Errno::EPERM
    );
    assert_eq!(
        root.open(c"socket", libc::O_RDWR, 0).unwrap_err(),
        Errno::ENXIO
    );
    let (null, dev) = (libc::S_IFCHR | 0o666, libc::makedev(1, 3));
    if geteuid().is_root() && sys::fs::mknodat(lower.as_fd(), c"null", null, dev).is_ok() {
        assert_eq!(
            root.open(c"null", libc::O_RDWR, 0).unwrap_err(),
            Errno::EACCES
        );
        assert_eq!(root.chmod(c"null", 0o600).unwrap_err(), Errno::EPERM);
    }
    assert_eq!(
        root.mknod(c"own", libc::S_IFCHR | 0o600).unwrap_err(),
        Errno::EPERM
    );
    assert_eq!(names_in(&place.store("upper")), [""; 0]);
    root.unlink(c"socket").unwrap();
    assert_eq!(root.stat(c"socket").unwrap_err(), Errno::ENOENT);
    Ok(())
}

fn a_fifo_of_a_lower_leads_nowhere_outside() -> Test {
    let place = Place::new();
    let lower = sys::fs::open(&c_path(&place.lower("")), libc::O_PATH).unwrap();
    sys::fs::mknodat(lower.as_fd(), c"fifo", libc::S_IFIFO | 0o666, 0).unwrap();
    let flags = libc::O_RDONLY | libc::O_NONBLOCK;
    let outside = sys::fs::openat(lower.as_fd(), c"fifo", flags, 0).unwrap();
    let cow = place.open();
    // Outside there is a reader; for the guest there is none.
    let to_write = libc::O_WRONLY | libc::O_NONBLOCK;
    assert_eq!(
        cow.root().open(c"fifo", to_write, 0).unwrap_err(),
        Errno::ENXIO
    );
    let reader = cow.root().open(c"fifo", flags, 0).unwrap();
    let writer = cow.root().open(c"fifo", to_write, 0).unwrap();
    File::from(writer).write_all(b"x").unwrap();
    let mut byte = [0; 1];
    File::from(reader).read_exact(&mut byte).unwrap();
    assert_eq!(File::from(outside).read(&mut byte).unwrap(), 0);
    Ok(())
}

fn a_file_opened_to_be_locked_is_copied() -> Test {
    let place = Place::new();
    for name in ["lock", "read"] {
        fs::write(place.lower(name), "").unwrap();
    }
    let cow = place.open();
    drop(cow.root().open(c"read", libc::O_RDONLY, 0).unwrap());
    drop(
        cow.root()
            .open(c"lock", libc::O_RDONLY | libc::O_CREAT, 0o600)
            .unwrap(),
    );
    assert_eq!(names_in(&place.store("upper")), ["lock"]);
    Ok(())
}

fn what_was_seen_is_opened_or_nothing() -> Test {
    let place = Place::new();
    for name in ["kept", "replaced", "removed", "written"] {
        fs::write(place.lower(name), name).unwrap();
    }
    let cow = place.open();
    let root = cow.root();
    let inode = |name: &CStr| {
        root.stat(name)
            .map(|stat| (stat.st_dev, stat.st_ino))
            .unwrap()
    };
    let [kept, replaced, removed, written] =
        [c"kept", c"replaced", c"removed", c"written"].map(inode);
    // Somebody outside puts another file there; it keeps the old one's number from being used again.
    fs::rename(place.lower("replaced"), place.lower("aside")).unwrap();
    fs::write(place.lower("replaced"), "another").unwrap();
    root.unlink(c"removed").unwrap();
    put(root, c"written", "changed");
    let open = |name, flags, seen| root.open_seen(name, flags, seen).unwrap().is_some();
    assert!(open(c"kept", libc::O_RDONLY, kept));
    assert!(!open(c"kept", libc::O_RDWR, kept), "that takes a copy");
    assert!(
        !open(c"kept", libc::O_RDONLY | libc::O_CREAT, kept),
        "that, too"
    );
    assert!(!open(c"kept", libc::O_RDONLY | libc::O_DIRECTORY, kept));
    assert!(!open(c"replaced", libc::O_RDONLY, replaced));
    assert!(!open(c"removed", libc::O_RDONLY, removed));
    assert!(
        !open(c"written", libc::O_RDONLY, written),
        "the upper's is meant"
    );
    Ok(())
}

/// Whiteouts as regular files with an attribute, in directories that say so.
fn markers_are_whiteouts() -> Test {
    let place = Place::new();
    let lowers = ["top", "lower"].map(|name| place.dir.path().join(name));
    fs::create_dir(&lowers[0]).unwrap();
    for name in ["gone", "kept"] {
        fs::write(lowers[0].join(name), "").unwrap();
        fs::write(lowers[1].join(name), "below").unwrap();
    }
    let mark = |path: &Path, name: &CStr, value: &[u8]| {
        let held = sys::fs::open(&c_path(path), libc::O_RDONLY).unwrap();
        sys::fs::fsetxattr(held.as_fd(), name, value, 0).unwrap();
    };
    mark(&lowers[0], c"user.overlay.opaque", b"x");
    mark(&lowers[0].join("gone"), c"user.overlay.whiteout", b"y");
    let cow = open(&place.store(""), &lowers);
    assert_eq!(cow.root().stat(c"gone").unwrap_err(), Errno::ENOENT);
    assert_eq!(text(cow.root(), c"kept"), "");
    let names = crate::tree::engine_names(cow.root()).unwrap();
    assert_eq!(names, [(c"kept".to_owned(), libc::DT_REG)]);
    Ok(())
}

fn changes_of_a_lower_show() -> Test {
    let place = Place::new();
    fs::create_dir(place.lower("d")).unwrap();
    let cow = place.open();
    let d = cow.root().open_dir(c"d").unwrap();
    fs::write(place.lower("d/late"), "late").unwrap();
    assert_eq!(text(&d, c"late"), "late");
    fs::rename(place.lower("d"), place.lower("e")).unwrap();
    assert_eq!(cow.root().open_dir(c"d").unwrap_err(), Errno::ENOENT);
    let e = cow.root().open_dir(c"e").unwrap();
    assert!(!e.is_same(&d));
    put(&e, c"late", "changed");
    // Who still holds it by its old name changes what that name would have become.
    put(&d, c"late", "by the old name");
    assert_eq!(text(&e, c"late"), "changed");
    assert_eq!(
        text(&cow.root().open_dir(c"d").unwrap(), c"late"),
        "by the old name"
    );
    Ok(())
}

fn a_file_of_a_lower_gets_no_name_in_the_upper() -> Test {
    let place = Place::new();
    fs::write(place.lower("f"), "x").unwrap();
    let cow = place.open();
    let file = cow.root().open(c"f", libc::O_RDONLY, 0).unwrap();
    assert_eq!(
        cow.root().link_fd(file.as_fd(), c"mine").unwrap_err(),
        Errno::EXDEV
    );
    assert_eq!(names_in(&place.store("upper")), [""; 0]);
    Ok(())
}

fn a_moved_directory_stays_the_same() -> Test {
    let place = Place::new();
    let cow = place.open();
    let root = cow.root();
    root.mkdir(c"a", 0o755).unwrap();
    root.mkdir(c"b", 0o755).unwrap();
    let (a, b) = (root.open_dir(c"a").unwrap(), root.open_dir(c"b").unwrap());
    a.mkdir(c"in", 0o755).unwrap();
    let inner = a.open_dir(c"in").unwrap();
    root.rename(c"a", &b, c"moved", 0).unwrap();
    let path: Vec<_> = inner.path().unwrap();
    assert_eq!(path, [c"b", c"moved", c"in"].map(CStr::to_owned));
    assert!(b.open_dir(c"moved").unwrap().is_same(&a));
    put(&inner, c"f", "x");
    assert_eq!(
        fs::read_to_string(place.store("upper/b/moved/in/f")).unwrap(),
        "x"
    );
    inner.unlink(c"f").unwrap();
    a.rmdir(c"in").unwrap();
    assert_eq!(inner.path(), None);
    assert_eq!(inner.mkdir(c"x", 0o755).unwrap_err(), Errno::ENOENT);
    Ok(())
}
