//! From paths to rules: few enough to be read, and not wider than they must be.
//!
//! - What is written lies in directories that become copy-on-write, each with one set of rights; all of the current
//!   directory is one.
//! - Three siblings that are read are their directory, but not near the root, nor above the home or current directory.
//! - A directory that is only looked at is there, and empty.

use super::recorder::Seen;
use crate::policy::Access;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Siblings that stand for their directory.
const SIBLINGS: usize = 3;

/// Top directories that may be proposed as a whole.
const SYSTEM: [&[u8]; 10] = [
    b"/usr", b"/etc", b"/opt", b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32",
    b"/nix",
];

/// What sbox makes itself: a rule for each is in every proposal.
const OWN: [&[u8]; 2] = [b"/proc", b"/dev"];
/// Private directories of every recording.
const PRIVATE: [&[u8]; 2] = [b"/dev/shm", b"/tmp"];

/// What the host has at a path, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Nothing,
    Directory,
    /// Somebody may listen there.
    Socket,
    /// A file, a link, or anything else.
    Other,
}

impl Host {
    /// Looks.
    pub(super) fn of(path: &[u8]) -> Self {
        match fs::symlink_metadata(Path::new(OsStr::from_bytes(path))) {
            Ok(meta) if meta.is_dir() => Self::Directory,
            Ok(meta) if meta.file_type().is_socket() => Self::Socket,
            Ok(_) => Self::Other,
            Err(_) => Self::Nothing,
        }
    }
}

/// What variables stand for.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) cwd: Vec<u8>,
    pub(super) home: Vec<u8>,
}

/// A rule: of a proposal, or of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The path, or the top of the tree.
    pub(super) path: Vec<u8>,
    /// All below it is meant, too.
    pub(super) tree: bool,
    /// Changes are made there, and kept apart.
    pub(super) written: bool,
    pub(super) access: Access,
    pub(super) times: u64,
    pub(super) runs: u64,
}

/// What is proposed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) rules: Vec<Entry>,
    /// Directories that are there, and empty.
    pub(super) empty: Vec<Vec<u8>>,
    /// Private directories.
    pub(super) private: Vec<&'static [u8]>,
    /// What people should know.
    pub(super) notes: Vec<String>,
}

/// `path` below `dir`, or it itself.
fn within(path: &[u8], dir: &[u8]) -> bool {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn below(path: &[u8], dir: &[u8]) -> bool {
    path != dir && within(path, dir)
}

fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(0) | None => b"/",
        Some(at) => path.get(..at).unwrap_or(b"/"),
    }
}

impl Places {
    /// What of a path no rule can be about, as sbox makes it.
    fn is_own(&self, path: &[u8]) -> bool {
        OWN.iter().any(|own| within(path, own)) && !self.is_private(path)
    }

    /// Private, unless the current directory lies there.
    fn is_private(&self, path: &[u8]) -> bool {
        PRIVATE.iter().any(|dir| within(path, dir)) && !within(path, &self.cwd)
    }

    fn is_system(&self, path: &[u8]) -> bool {
        SYSTEM.iter().any(|dir| within(path, dir))
    }

    /// Whether all of a directory may be proposed, when only some of it was used.
    fn collapses(&self, dir: &[u8]) -> bool {
        let depth = dir.iter().filter(|&&b| b == b'/').count();
        let home_depth = self.home.iter().filter(|&&b| b == b'/').count();
        let holds = |place: &[u8]| within(place, dir) && place != self.cwd;
        if dir == b"/" || holds(&self.home) || below(&self.cwd, dir) {
            return false;
        }
        if below(dir, &self.home) && !within(dir, &self.cwd) {
            return depth > home_depth + 1;
        }
        depth > 1 || self.is_system(dir)
    }
}

/// Makes rules of what was seen, and of those that earlier runs have brought.
pub(super) fn propose(
    seen: &BTreeMap<Vec<u8>, Seen>,
    prior: &[Entry],
    places: &Places,
    host: &dyn Fn(&[u8]) -> Host,
    forbidden: &dyn Fn(&[u8]) -> bool,
    full: bool,
) -> Proposal {
    let mut out = Proposal::default();
    if full {
        out.notes
            .push("the program has used too many files: the proposal is not complete".into());
    }
    let (mut left_out, mut no_text) = (Vec::new(), 0);
    let (mut sockets, mut unnamed) = (Vec::new(), Vec::new());
    let kept = seen.iter().filter(|(path, _)| {
        let secret = forbidden(path);
        if secret && host(path) != Host::Nothing {
            left_out.push(path.escape_ascii().to_string());
        }
        let is_text = std::str::from_utf8(path).is_ok();
        no_text += usize::from(!is_text);
        !secret && is_text && !places.is_own(path)
    });
    let kept = kept.filter_map(|(path, seen)| {
        let mut access = seen.access;
        // The recording has refused that, as it would a run: what is at the other end is no part of the sandbox.
        if access.has(Access::CONNECT) && host(path) == Host::Socket {
            sockets.push(path.escape_ascii().to_string());
            access = access.without(Access::CONNECT.and(Access::WRITE));
        }
        // Without a mount the changes would be the host's.
        let dir = changed_dir(path, access, places, host);
        if dir.is_some_and(|dir| dir != places.cwd && !can_be_mounted(dir)) {
            unnamed.push(path.escape_ascii().to_string());
            access = access.both(LASTING);
        }
        let seen = Seen { access, ..*seen };
        (!access.is_empty()).then_some((path, seen))
    });
    let kept: Vec<(&Vec<u8>, Seen)> = kept.collect();
    for (mut paths, why) in [
        (
            sockets,
            "a socket of the host, to which only a rule of your own connects",
        ),
        (
            unnamed,
            "changed in a directory whose name no mount can have (*?[{)",
        ),
    ] {
        if !paths.is_empty() {
            paths.truncate(5);
            out.notes
                .push(format!("left out, as {why}: {}", paths.join(", ")));
        }
    }
    if no_text > 0 {
        out.notes.push(format!(
            "{no_text} names are no text (UTF-8), and in no policy: a wildcard can match them"
        ));
    }
    for dir in PRIVATE {
        let used = kept
            .iter()
            .any(|(path, _)| within(path, dir) && places.is_private(path));
        if used {
            out.private.push(dir);
        }
    }
    let kept: Vec<_> = kept
        .into_iter()
        .filter(|(path, _)| !places.is_private(path))
        .collect();
    let mut written = written(&kept, prior, places, host);
    let mut read: Vec<Entry> = prior.iter().filter(|e| !e.written).cloned().collect();
    let times = |entries: &[Entry]| entries.iter().map(|e| e.times).collect::<Vec<u64>>();
    let before = (times(&written), times(&read));
    for (path, seen) in &kept {
        let holds = |e: &&mut Entry| e.path == **path || e.tree && within(path, &e.path);
        let known = match written.iter_mut().find(holds) {
            Some(entry) => Some(entry),
            None if host(path) == Host::Nothing => continue,
            None => read.iter_mut().find(holds),
        };
        match known {
            Some(entry) => {
                entry.access = entry.access.and(seen.access);
                entry.times += seen.times;
            }
            None => read.push(Entry {
                path: path.to_vec(),
                tree: false,
                written: false,
                access: seen.access,
                times: seen.times,
                runs: 0,
            }),
        }
    }
    for (entries, before) in [(&mut written, before.0), (&mut read, before.1)] {
        let before = before.into_iter().chain(std::iter::repeat(0));
        for (entry, before) in entries.iter_mut().zip(before) {
            entry.runs += u64::from(entry.times > before);
        }
    }
    read.retain(|entry| !written.iter().any(|over| within(&entry.path, &over.path)));
    directories(&mut read, &written, places, host, &mut out.empty);
    collapse(&mut read, places);
    for entry in read.iter_mut().chain(&mut written) {
        entry.access = complete(entry.access);
    }
    out.empty.retain(|dir| {
        let mut all = read.iter().chain(&written);
        !all.any(|entry| entry.tree && within(dir, &entry.path) || within(&entry.path, dir))
    });
    for entry in &written {
        if within(&places.home, &entry.path) {
            out.notes.push(format!(
                "something was written right in {}: all of it would be shown; think of a rule of your own",
                entry.path.escape_ascii()
            ));
        }
    }
    if !left_out.is_empty() {
        left_out.truncate(5);
        out.notes.push(format!(
            "left out, as [forbid] lists it: {}",
            left_out.join(", ")
        ));
    }
    out.rules = read;
    out.rules.extend(written);
    out.rules.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// What can be granted without anything being changed.
const LASTING: Access = Access::READ_ONLY.and(Access::CONNECT);

/// In which directory there is a change, if an access is one.
fn changed_dir<'p>(
    path: &'p [u8],
    access: Access,
    places: &'p Places,
    host: &dyn Fn(&[u8]) -> Host,
) -> Option<&'p [u8]> {
    if access.without(LASTING).is_empty() {
        return None;
    }
    let names = Access::DELETE.and(Access::CREATE);
    let itself = host(path) == Host::Directory && access.both(names).is_empty();
    let mut dir: &[u8] = if itself { path } else { parent(path) };
    while host(dir) != Host::Directory && dir != b"/" {
        dir = parent(dir);
    }
    // The current directory is one, whatever of it is written.
    Some(if within(dir, &places.cwd) && places.cwd != b"/" {
        &places.cwd
    } else {
        dir
    })
}

/// Whether a directory can be a key of `[view.mounts]`.
fn can_be_mounted(dir: &[u8]) -> bool {
    !dir.iter().any(|byte| b"*?[{".contains(byte))
}

/// The directories in which something is changed, none below another.
fn written(
    kept: &[(&Vec<u8>, Seen)],
    prior: &[Entry],
    places: &Places,
    host: &dyn Fn(&[u8]) -> Host,
) -> Vec<Entry> {
    let mut dirs: BTreeMap<Vec<u8>, (Access, u64, u64)> = BTreeMap::new();
    for entry in prior.iter().filter(|entry| entry.written) {
        let known = (entry.access, entry.times, entry.runs);
        dirs.insert(entry.path.clone(), known);
    }
    for (path, seen) in kept {
        let Some(dir) = changed_dir(path, seen.access, places, host) else {
            continue;
        };
        let known = dirs.entry(dir.to_vec()).or_insert((Access::NONE, 0, 0));
        known.0 = known.0.and(seen.access);
    }
    let mut entries: Vec<Entry> = dirs
        .into_iter()
        .map(|(path, (access, times, runs))| Entry {
            path,
            tree: true,
            written: true,
            access: access.and(Access::LOOK).and(Access::READ),
            times,
            runs,
        })
        .collect();
    collapse(&mut entries, places);
    let tops = entries.clone();
    entries.retain(|entry| !tops.iter().any(|top| below(&entry.path, &top.path)));
    for entry in &mut entries {
        for inner in tops.iter().filter(|inner| within(&inner.path, &entry.path)) {
            entry.access = entry.access.and(inner.access);
        }
    }
    entries
}

/// What is to be done with directories themselves.
fn directories(
    read: &mut Vec<Entry>,
    written: &[Entry],
    places: &Places,
    host: &dyn Fn(&[u8]) -> Host,
    empty: &mut Vec<Vec<u8>>,
) {
    let all: Vec<Vec<u8>> = read.iter().chain(written).map(|e| e.path.clone()).collect();
    read.retain_mut(|entry| {
        if entry.tree || host(&entry.path) != Host::Directory {
            return true;
        }
        // It leads there, and lists what is visible.
        if all.iter().any(|path| below(path, &entry.path)) || entry.path == b"/" {
            return false;
        }
        let listed = entry.access.has(Access::LIST);
        if (listed || places.is_system(&entry.path) || entry.path == places.cwd)
            && (places.collapses(&entry.path) || entry.path == places.cwd)
        {
            entry.tree = true;
            return true;
        }
        empty.push(entry.path.clone());
        false
    });
}

/// Puts directories for siblings, the deepest first, as long as there are any.
fn collapse(entries: &mut Vec<Entry>, places: &Places) {
    loop {
        let mut parents: BTreeMap<&[u8], usize> = BTreeMap::new();
        for entry in entries.iter() {
            *parents.entry(parent(&entry.path)).or_default() += 1;
        }
        let many = parents
            .into_iter()
            .filter(|(dir, count)| *count >= SIBLINGS && places.collapses(dir));
        let depth = |dir: &[u8]| dir.iter().filter(|&&b| b == b'/').count();
        let deepest = many.max_by_key(|(dir, _)| depth(dir));
        let Some(dir) = deepest.map(|(dir, _)| dir.to_vec()) else {
            return;
        };
        let mut whole = Entry {
            path: dir,
            tree: true,
            written: false,
            access: Access::NONE,
            times: 0,
            runs: 0,
        };
        entries.retain(|entry| {
            let goes = within(&entry.path, &whole.path);
            if goes {
                whole.written |= entry.written;
                whole.access = whole.access.and(entry.access);
                whole.times += entry.times;
                whole.runs = whole.runs.max(entry.runs);
            }
            !goes
        });
        entries.push(whole);
    }
}

/// Rights as letters can say them: `w` is writing and connecting, `x` a program that may be read.
fn complete(access: Access) -> Access {
    let mut access = access.and(Access::LOOK).and(Access::READ);
    let writes = Access::WRITE.and(Access::CONNECT);
    if !access.both(writes).is_empty() {
        access = access.and(writes);
    }
    access
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host paths that end in a slash are directories; others are files.
    fn proposed(seen: &[(&str, Access)], prior: &[Entry]) -> Vec<String> {
        let places = Places {
            cwd: b"/home/u/proj".to_vec(),
            home: b"/home/u".to_vec(),
        };
        let host = |path: &[u8]| match path {
            _ if path.ends_with(b"new") => Host::Nothing,
            _ if path.ends_with(b".sock") => Host::Socket,
            _ if path.contains(&b'.') => Host::Other,
            _ => Host::Directory,
        };
        let seen = seen.iter().map(|(path, access)| {
            let seen = Seen {
                access: *access,
                times: 1,
            };
            (path.as_bytes().to_vec(), seen)
        });
        let secret = |path: &[u8]| path.ends_with(b"shadow.x");
        let proposal = propose(&seen.collect(), prior, &places, &host, &secret, false);
        let rule = |entry: &Entry| {
            let tree = if entry.tree { "/**" } else { "" };
            let cow = if entry.written { " cow" } else { "" };
            let path = String::from_utf8(entry.path.clone()).unwrap();
            format!(
                "{path}{tree} {}{cow}",
                crate::trace::advice::rights(entry.access)
            )
        };
        let mut all: Vec<String> = proposal.rules.iter().map(rule).collect();
        all.extend(
            proposal
                .empty
                .iter()
                .map(|dir| format!("{} empty", dir.escape_ascii())),
        );
        all
    }

    #[test]
    fn three_siblings_are_their_directory() {
        let read = Access::LOOK.and(Access::READ);
        let two = [("/usr/lib/a.so", read), ("/usr/lib/b.so", read)];
        assert_eq!(proposed(&two, &[]), ["/usr/lib/a.so r", "/usr/lib/b.so r"]);
        let three = [two[0], two[1], ("/usr/lib/c.so", Access::READ_ONLY)];
        assert_eq!(proposed(&three, &[]), ["/usr/lib/** rx"]);
    }

    #[test]
    fn nothing_near_the_root_and_above_home_is_widened() {
        let read = Access::LOOK.and(Access::READ);
        for top in ["/", "/home/", "/home/u/", "/srv/"] {
            let names = ["a.x", "b.x", "c.x", "d.x"].map(|name| format!("{top}{name}"));
            let seen: Vec<(&str, Access)> =
                names.iter().map(|name| (name.as_str(), read)).collect();
            assert_eq!(proposed(&seen, &[]).len(), 4, "{top}");
        }
        let deep = [
            "/home/u/.config/app/a.x",
            "/home/u/.config/app/b.x",
            "/home/u/.config/app/c.x",
        ];
        let deep = deep.map(|path| (path, read));
        assert_eq!(proposed(&deep, &[]), ["/home/u/.config/app/** r"]);
    }

    #[test]
    fn what_is_written_is_a_directory_copy_on_write() {
        let seen = [
            ("/home/u/proj/src/a.c", Access::READ),
            ("/home/u/proj/out/new", Access::CREATE.and(Access::WRITE)),
            ("/home/u/cache/app/x/new", Access::CREATE),
            ("/home/u/cache/app/x/old.x", Access::DELETE),
        ];
        assert_eq!(
            proposed(&seen, &[]),
            ["/home/u/cache/app/x/** rcd cow", "/home/u/proj/** wrc cow"]
                .map(|rule| rule.replace("wrc", "rwc"))
        );
    }

    #[test]
    fn no_change_is_let_through_to_the_host() {
        let write = Access::CREATE.and(Access::WRITE);
        for odd in ["*", "?", "[x", "{a,b}", "${home}", "${cwd}"] {
            let new = format!("/srv/{odd}/new");
            let read = format!("/srv/{odd}/a.x");
            let seen = [(new.as_str(), write), (read.as_str(), Access::READ)];
            assert_eq!(proposed(&seen, &[]), [format!("{read} r")], "{odd}");
        }
        let seen = [("/srv/a\\b/new", write)];
        assert_eq!(proposed(&seen, &[]), ["/srv/a\\b/** rwc cow"]);
    }

    #[test]
    fn no_server_of_the_host_is_proposed() {
        let looked = ("/run/a.sock", Access::CONNECT.and(Access::LOOK));
        let seen = [looked, ("/run/b.sock", Access::CONNECT)];
        assert_eq!(proposed(&seen, &[]), ["/run/a.sock r"]);
    }

    #[test]
    fn directories_that_are_looked_at_are_there_and_empty() {
        let seen = [
            ("/home", Access::LOOK),
            ("/srv", Access::LOOK),
            ("/usr", Access::LOOK),
            ("/usr/a.x", Access::READ),
        ];
        assert_eq!(
            proposed(&seen, &[]),
            ["/usr/a.x r", "/home empty", "/srv empty"]
        );
        // Secrets are nobody's.
        assert_eq!(
            proposed(&[("/etc/shadow.x", Access::READ)], &[]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn runs_are_put_together() {
        let read = Access::LOOK.and(Access::READ);
        let prior = ["/usr/lib/a.so", "/usr/lib/b.so"].map(|path| Entry {
            path: path.into(),
            tree: false,
            written: false,
            access: read,
            times: 4,
            runs: 2,
        });
        assert_eq!(
            proposed(&[("/usr/lib/c.so", read)], &prior),
            ["/usr/lib/** r"]
        );
    }
}
