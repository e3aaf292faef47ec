//! The path walk, row by row: a tree, a path, and what it leads to. Each row is walked twice, once with nothing
//! remembered (the slow way) and once right after (the fast way, through remembered directories); both must agree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails in its set-up fails"
)]

use bumpalo::Bump;
use sbox::policy::{Access, Policy, Rule};
use sbox::task::Registry;
use sbox::vfs::cow::Sync;
use sbox::vfs::mount::{CowTree, HostObject, Mount, MountTable, Source};
use sbox::vfs::path::VPath;
use sbox::vfs::{Caller, Follow, Place, Scope, Scratch, Vfs};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A view with `/w` (a host tree), `/w/sub/secret` hidden, `/other` (another tree), `/link -> w/dir`.
fn view(host: &Path) -> Vfs {
    view_of(host, false)
}

/// The same; with `cow`, `/w` is a copy-on-write tree over the host's.
fn view_of(host: &Path, cow: bool) -> Vfs {
    let mut policy = Policy::default();
    let mut rule = |origin: &str| {
        policy.add(Rule {
            grants: Access::ALL,
            origin: origin.into(),
        })
    };
    let object = |path: &Path| {
        HostObject::open(&CString::new(path.as_os_str().as_bytes()).unwrap()).unwrap()
    };
    let at = |text: &str| VPath::clean(text.as_bytes()).unwrap();
    let mounts = vec![
        Mount {
            at: at("/w"),
            source: if cow {
                fs::create_dir(host.join("store")).unwrap();
                let lowers = vec![object(&host.join("w"))];
                Source::Cow(
                    CowTree::open(&object(&host.join("store")), lowers, Sync::Never).unwrap(),
                )
            } else {
                Source::Dir(object(&host.join("w")))
            },
            rule: rule("w"),
        },
        Mount {
            at: at("/w/sub/secret"),
            source: Source::Hidden,
            rule: rule("secret"),
        },
        Mount {
            at: at("/other"),
            source: Source::Dir(object(&host.join("o"))),
            rule: rule("o"),
        },
        Mount {
            at: at("/link"),
            source: Source::Symlink((*b"w/dir").into()),
            rule: rule("link"),
        },
        Mount {
            at: at("/proc"),
            source: Source::Proc,
            rule: rule("proc"),
        },
    ];
    Vfs::new(
        MountTable::new(mounts),
        Scratch::new().unwrap(),
        rule("made up"),
    )
    .unwrap()
}

fn tree(host: &Path) {
    for dir in ["w/dir/deep", "w/sub/secret", "o"] {
        fs::create_dir_all(host.join(dir)).unwrap();
    }
    for file in ["w/file", "w/dir/deep/f", "w/sub/secret/s", "o/file"] {
        fs::write(host.join(file), file).unwrap();
    }
    for (text, name) in [
        ("dir", "w/todir"),
        ("/other/file", "w/abs"),
        ("../../../../other", "w/up"),
        ("loop", "w/loop"),
        ("nowhere", "w/dangling"),
        ("sub/secret", "w/tosecret"),
        ("/etc/passwd", "w/outside"),
    ] {
        symlink(text, host.join(name)).unwrap();
    }
}

/// What a walk came to: a name in a directory, a directory, nothing, or an error.
fn shown(vfs: &Vfs, path: &str, follow: Follow, scope: u64) -> String {
    let (arena, tasks) = (Bump::new(), Registry::default());
    let who = Caller {
        tgid: 1,
        tid: 1,
        tasks: &tasks,
        sight: None,
        trip: None,
    };
    let text = CString::new(path).unwrap();
    let work = vfs.directory(who, vfs.root(), c"w").unwrap();
    let scope = match Scope::new(scope) {
        Ok(scope) => scope,
        Err(errno) => return format!("{errno:?}"),
    };
    let found = match vfs.find_within(who, &work, &text, follow, scope, &arena) {
        Ok(found) => found,
        Err(errno) => return format!("{errno:?}"),
    };
    let exists = if found.stat.is_some() { "" } else { "no " };
    match found.place {
        Place::Name { dir, name, .. } => {
            format!("{exists}{}", dir.path().unwrap().join(name.to_bytes()))
        }
        Place::Dir(dir, _) => format!("{}", dir.path().unwrap()),
        Place::Link { .. } => "a link".into(),
        Place::Absent { hidden, .. } => if hidden { "hidden" } else { "absent" }.into(),
        other => format!("{other:?}"),
    }
}

const L: Follow = Follow::Last;
const N: Follow = Follow::Never;

#[test]
fn every_row_is_the_same_slow_and_fast() {
    for cow in [false, true] {
        let host = tempfile::tempdir().unwrap();
        tree(host.path());
        every_row_is_the_same_slow_and_fast_in(&view_of(host.path(), cow));
    }
}

fn every_row_is_the_same_slow_and_fast_in(vfs: &Vfs) {
    let rows = [
        ("file", L, "/w/file"),
        ("/w/file", L, "/w/file"),
        ("./dir/../file", L, "/w/file"),
        ("dir/deep/../../file", L, "/w/file"),
        ("dir//deep///f", L, "/w/dir/deep/f"),
        ("..", L, "/"),
        ("../..", L, "/"),
        ("../other/file", L, "/other/file"),
        ("/", L, "/"),
        (".", L, "/w"),
        ("file/", L, "ENOTDIR"),
        ("file/x", L, "ENOTDIR"),
        ("dir/", L, "/w/dir"),
        ("absent", L, "no /w/absent"),
        ("absent/x", L, "ENOENT"),
        ("/absent", L, "absent"),
        ("/absent/x", L, "ENOENT"),
        ("todir", L, "/w/dir"),
        ("todir", N, "/w/todir"),
        ("todir/", N, "/w/dir"),
        ("todir/deep/f", L, "/w/dir/deep/f"),
        ("todir/..", L, "/w"),
        ("abs", L, "/other/file"),
        ("abs", N, "/w/abs"),
        ("up", L, "/other"),
        ("up/file", L, "/other/file"),
        ("loop", L, "ELOOP"),
        ("loop", N, "/w/loop"),
        ("loop/x", L, "ELOOP"),
        ("dangling", L, "no /w/nowhere"),
        ("outside", L, "ENOENT"),
        ("/link", L, "/w/dir"),
        ("/link", N, "a link"),
        ("/link/deep/f", L, "/w/dir/deep/f"),
        ("/link/..", L, "/w"),
        ("sub/secret", L, "hidden"),
        ("sub/secret/s", L, "ENOENT"),
        ("tosecret", L, "hidden"),
        ("tosecret/s", L, "ENOENT"),
        ("sub/../sub/secret", L, "hidden"),
        ("sub/secret/..", L, "ENOENT"),
    ];
    for (path, follow, want) in rows {
        vfs.permissions_changed(); // forgets all directories
        let slow = shown(vfs, path, follow, 0);
        let fast = shown(vfs, path, follow, 0);
        assert_eq!(
            (slow.as_str(), fast.as_str()),
            (want, want),
            "{path} {follow:?}"
        );
    }
}

#[test]
fn openat2_limits_keep_a_walk_in() {
    for cow in [false, true] {
        let host = tempfile::tempdir().unwrap();
        tree(host.path());
        openat2_limits_keep_a_walk_in_in(&view_of(host.path(), cow));
    }
}

fn openat2_limits_keep_a_walk_in_in(vfs: &Vfs) {
    let (beneath, in_root) = (libc::RESOLVE_BENEATH, libc::RESOLVE_IN_ROOT);
    for (path, scope, want) in [
        ("dir/deep/f", beneath, "/w/dir/deep/f"),
        ("dir/../file", beneath, "/w/file"),
        ("..", beneath, "EXDEV"),
        ("dir/../../w/file", beneath, "EXDEV"),
        ("/w/file", beneath, "EXDEV"),
        ("abs", beneath, "EXDEV"),
        ("up", beneath, "EXDEV"),
        ("../..", in_root, "/w"),
        ("/file", in_root, "/w/file"),
        ("abs", in_root, "ENOENT"),
        ("todir/deep/f", libc::RESOLVE_NO_SYMLINKS, "ELOOP"),
        ("up/file", libc::RESOLVE_NO_XDEV, "EXDEV"),
        ("sub/secret/s", beneath, "ENOENT"),
        ("file", beneath | in_root, "EINVAL"),
    ] {
        assert_eq!(shown(vfs, path, L, scope), want, "{path} {scope:#x}");
    }
}

/// Renamed by the guest: the next walk knows. Renamed by others: within the time that is stated.
#[test]
fn a_rename_is_seen() {
    let host = tempfile::tempdir().unwrap();
    tree(host.path());
    let vfs = view(host.path());
    assert_eq!(shown(&vfs, "dir/deep/f", L, 0), "/w/dir/deep/f");
    fs::rename(host.path().join("w/dir"), host.path().join("w/moved")).unwrap();
    let (arena, tasks) = (Bump::new(), Registry::default());
    let who = Caller {
        tgid: 1,
        tid: 1,
        tasks: &tasks,
        sight: None,
        trip: None,
    };
    let place = vfs.locate(who, vfs.root(), c"/w/dir", &arena).unwrap();
    let Place::Name { dir, name, .. } = &place else {
        panic!("{place:?}")
    };
    vfs.name_changed(dir, name.to_bytes());
    assert_eq!(shown(&vfs, "dir/deep/f", L, 0), "ENOENT");
    assert_eq!(shown(&vfs, "moved/deep/f", L, 0), "/w/moved/deep/f");
    fs::rename(host.path().join("w/moved"), host.path().join("w/again")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(shown(&vfs, "moved/deep/f", L, 0), "ENOENT");
}

/// What no guest can lead elsewhere, of a tree in which one directory is shown writable.
#[test]
fn a_path_is_fixed_where_no_guest_can_change_it() {
    let host = tempfile::tempdir().unwrap();
    // The kernel resolves the host's own links too: none of the temporary directory's is part of a row.
    let host = host.path().canonicalize().unwrap();
    for dir in ["ro/dir", "rw/dir", "rw-too", "lower/dir", "store"] {
        fs::create_dir_all(host.join(dir)).unwrap();
    }
    for file in [
        "ro/file",
        "ro/dir/f",
        "rw/file",
        "rw-too/file",
        "lower/file",
        "outside",
    ] {
        fs::write(host.join(file), file).unwrap();
    }
    for (text, name) in [
        ("file", "ro/to_file"),
        ("dir", "ro/to_dir"),
        ("to_dir/../to_file", "ro/to_links"),
        ("../outside", "ro/up"),
        ("loop", "ro/loop"),
        ("nowhere", "ro/dangling"),
        ("../rw/file", "ro/to_writable"),
        ("../rw/to_read_only", "ro/there_and_back"),
        ("../ro/file", "rw/to_read_only"),
        ("/proc/self/exe", "ro/to_proc"),
    ] {
        symlink(text, host.join(name)).unwrap();
    }
    symlink(host.join("ro/file"), host.join("ro/absolute")).unwrap();
    let scratch = Scratch::new().unwrap();
    let own = scratch.base().to_owned();
    let vfs = fixed_view(&host, scratch);
    let rows = [
        ("ro/file", true),
        ("ro//dir/./f", true),
        ("ro/", true),
        ("outside", true),
        ("ro/to_file", true),
        ("ro/to_dir/f", true),
        ("ro/to_links", true),
        ("ro/up", true),
        ("ro/absolute", true),
        ("ro/dir/../file", true),
        ("ro/dir/../../ro/file", true),
        ("ro/to_dir/../file", true),
        // A name that only begins like what is writable.
        ("rw-too/file", true),
        ("ro/loop", false),
        ("ro/dangling", false),
        ("ro/absent", false),
        ("ro/absent/../file", false),
        ("ro/file/../file", true), // ENOTDIR for the kernel: never taken
        ("rw", false),
        ("rw/file", false),
        ("rw/dir/../file", false),
        ("rw/../ro/file", false),
        ("rw/dir/../../ro/file", false),
        ("rw/to_read_only", false),
        ("ro/to_writable", false),
        ("ro/there_and_back", false),
        ("ro/to_proc", false),
        // Of a copy-on-write tree only the upper layer changes.
        ("lower/file", true),
        ("lower/dir", true),
        ("store/upper", false),
    ];
    for (path, want) in rows {
        let path = CString::new(host.join(path).as_os_str().as_bytes()).unwrap();
        assert_eq!(vfs.is_fixed(&path), want, "{path:?}");
    }
    let below_own = own.join("empty");
    for (path, want) in [
        ("/", true),
        ("/proc/self/exe", false),
        ("/proc", false),
        ("/dev/null", false),
        ("/sys", false),
        ("", false),
        ("ro/file", false),
        (".", false),
        (below_own.to_str().unwrap(), false),
    ] {
        let path = CString::new(path).unwrap();
        assert_eq!(vfs.is_fixed(&path), want, "{path:?}");
    }
}

/// `ro` read-only, `rw` writable, `lower` copy-on-write with its changes in `store`.
fn fixed_view(host: &Path, scratch: Scratch) -> Vfs {
    let mut policy = Policy::default();
    let mut rule = |origin: &str| {
        policy.add(Rule {
            grants: Access::ALL,
            origin: origin.into(),
        })
    };
    let object = |name: &str| {
        HostObject::open(&CString::new(host.join(name).as_os_str().as_bytes()).unwrap()).unwrap()
    };
    let cow = CowTree::open(&object("store"), vec![object("lower")], Sync::Never).unwrap();
    let writable = rule("rw");
    let mounts = [
        ("/ro", Source::Dir(object("ro")), rule("ro")),
        ("/rw", Source::Dir(object("rw")), writable),
        ("/cow", Source::Cow(cow), rule("cow")),
    ];
    let mounts = mounts.map(|(at, source, rule)| Mount {
        at: VPath::clean(at.as_bytes()).unwrap(),
        source,
        rule,
    });
    let vfs = Vfs::new(MountTable::new(mounts.into()), scratch, rule("made up")).unwrap();
    vfs.tell_writable([writable]);
    vfs
}
