//! Layers: what copy-on-write runs have changed, kept until somebody decides.
//!
//! ```text
//! $XDG_STATE_HOME/sbox/layers/NAME/
//!     about.json   what it belongs to
//!     commit       while one is under way: the name of what it half makes
//!     upper/       the changes, as overlayfs writes them: mountable by the kernel, readable by anybody
//!     work/ index/ the engine's (vfs/cow/store.rs); `work` is locked while a run uses the layer
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the directory of all layers: making, finding, removing one |
//! | `changes.rs` | what a layer changes of its source |
//! | `commit.rs` | doing that to the source |

mod changes;
mod commit;

pub use changes::{Aspect, Change, Depth, Kind, Node, changes, compare};
pub use commit::{Committed, commit};

use crate::sys::{self, Errno};
use crate::vfs::cow::{names_in, remove_tree};
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What can go wrong with layers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of the system failed.
    #[error("{what}: {}", errno.desc())]
    System {
        /// What was tried.
        what: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// There is no such layer.
    #[error("no layer '{0}'\n  hint: 'sbox layers' lists them")]
    Unknown(String),
    /// There is none at all.
    #[error(
        "there are no layers\n  hint: 'sbox run --cow DIR -- PROG' makes one when PROG changes something"
    )]
    None,
    /// Not a name for a layer.
    #[error(
        "'{0}' can't be the name of a layer\n  hint: letters, digits, '.', '_' and '-', not beginning with '.' or '-', at most 64"
    )]
    BadName(String),
    /// It is being used.
    #[error("layer '{0}' is in use by a run")]
    InUse(String),
    /// The layer belongs to another directory.
    #[error("layer '{name}' holds changes of {}, not of {}", source_dir.display(), wanted.display())]
    OtherSource {
        /// The layer.
        name: String,
        /// What it belongs to.
        source_dir: PathBuf,
        /// What it was wanted for.
        wanted: PathBuf,
    },
    /// Its description is damaged.
    #[error("layer '{name}': about.json: {why}")]
    Damaged {
        /// The layer.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nowhere to keep layers.
    #[error("neither XDG_STATE_HOME nor HOME says where layers are kept")]
    NoHome,
}

impl Error {
    fn of(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let what = what.into();
        |errno| Self::System { what, errno }
    }

    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |error| Self::System {
            what,
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

/// What a layer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    version: u32,
    source: Bytes,
    /// Seconds since 1970.
    made: u64,
    command: Vec<Bytes>,
}

/// Text where it is text; paths and arguments may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl From<&OsStr> for Bytes {
    fn from(bytes: &OsStr) -> Self {
        match bytes.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw(bytes.as_bytes().to_vec()),
        }
    }
}

impl From<&Bytes> for OsString {
    fn from(bytes: &Bytes) -> Self {
        match bytes {
            Bytes::Text(text) => text.into(),
            Bytes::Raw(raw) => Self::from_vec(raw.clone()),
        }
    }
}

/// The one version of `about.json` that there is.
const VERSION: u32 = 1;

/// How names of layers begin that are being made, or removed; no layer's own does.
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// A layer on disk.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub dir: PathBuf,
    /// The directory whose changes it holds.
    pub source: PathBuf,
    /// When it was made.
    pub made: SystemTime,
    /// The command whose run made it.
    pub command: Vec<OsString>,
}

/// All layers of this user.
#[derive(Debug)]
pub struct Layers {
    dir: PathBuf,
}

impl Layers {
    /// Those below `$XDG_STATE_HOME/sbox`, by default `~/.local/state/sbox`.
    pub fn of_user() -> Result<Self, Error> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                // The XDG base directory specification: a relative path is to be ignored.
                .filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/state")))
            .ok_or(Error::NoHome)?;
        Ok(Self::at(state.join("sbox")))
    }

    /// Those below `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into().join("layers"),
        }
    }

    /// The directory that holds them all; it need not exist.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The layer called `name` for the directory `source`, made if there is none. Without a name, a new one.
    pub fn prepare(
        &self,
        name: Option<&str>,
        source: &Path,
        command: &[OsString],
    ) -> Result<Layer, Error> {
        let what = || format!("making a layer in {}", self.dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(Error::io(what()))?;
        self.sweep();
        if let Some(name) = name
            && let Some(layer) = self.existing(name, source)?
        {
            return Ok(layer);
        }
        let made = SystemTime::now();
        let seconds = made
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let about = About {
            version: VERSION,
            source: source.as_os_str().into(),
            made: seconds,
            command: command.iter().map(|word| word.as_os_str().into()).collect(),
        };
        let text = serde_json::to_string_pretty(&about).map_err(|e| Error::Damaged {
            name: name.unwrap_or("new").to_owned(),
            why: e.to_string(),
        })?;
        // Described before it has its name: a layer that is there is whole.
        let fresh = nix::unistd::mkdtemp(&self.dir.join(format!("{NEW}XXXXXX")))
            .map_err(Error::of(what()))?;
        let named = fs::write(fresh.join("about.json"), text + "\n")
            .map_err(Error::io(what()))
            .and_then(|()| self.give_name(&fresh, name, source, seconds));
        if named.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        match named {
            Ok(name) => Ok(Layer {
                dir: self.dir.join(&name),
                name,
                source: source.to_owned(),
                made,
                command: command.to_vec(),
            }),
            // Another run was quicker with the name: its layer is the one that is meant.
            Err(error) => match name.map(|name| self.existing(name, source)) {
                Some(Ok(Some(layer))) => Ok(layer),
                _ => Err(error),
            },
        }
    }

    /// Removes what was interrupted while it was made or removed, as far as that goes.
    fn sweep(&self) {
        let Ok(dir) = open_all(&self.dir) else { return };
        for name in names_in(dir.as_fd()).unwrap_or_default() {
            let text = name.to_bytes();
            let is_old = || {
                let stat = sys::fs::fstatat(dir.as_fd(), &name, libc::AT_SYMLINK_NOFOLLOW);
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.unwrap_or_default().as_secs().cast_signed();
                stat.is_ok_and(|stat| now - stat.st_mtime > 60)
            };
            if text.starts_with(GONE.as_bytes()) || text.starts_with(NEW.as_bytes()) && is_old() {
                let _ = changes::on_a_deep_stack(|| remove_tree(dir.as_fd(), &name));
            }
        }
    }

    /// The layer called `name`, if it is there; [`Error::OtherSource`] if it is another directory's.
    fn existing(&self, name: &str, source: &Path) -> Result<Option<Layer>, Error> {
        match self.get(name) {
            Ok(layer) if layer.source == source => Ok(Some(layer)),
            Ok(layer) => Err(Error::OtherSource {
                name: layer.name,
                source_dir: layer.source,
                wanted: source.to_owned(),
            }),
            Err(Error::Unknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves `fresh` to `name`, or to a name of its own that is free, and returns that.
    fn give_name(
        &self,
        fresh: &Path,
        name: Option<&str>,
        source: &Path,
        seconds: u64,
    ) -> Result<String, Error> {
        let mut number = 0;
        loop {
            let wanted = name.map_or_else(|| generated(source, seconds, number), str::to_owned);
            // A directory is not even replaced when it is empty: another run may be about to remove it.
            match renameat2(
                AT_FDCWD,
                fresh,
                AT_FDCWD,
                &self.dir.join(&wanted),
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Ok(()) => return Ok(wanted),
                Err(Errno::EEXIST) if name.is_none() && number < 1000 => number += 1,
                Err(errno) => {
                    let what = format!("making layer '{wanted}' in {}", self.dir.display());
                    return Err(Error::of(what)(errno));
                }
            }
        }
    }

    /// The layer called `name`.
    pub fn get(&self, name: &str) -> Result<Layer, Error> {
        check_name(name)?;
        let dir = self.dir.join(name);
        let damaged = |why: String| Error::Damaged {
            name: name.to_owned(),
            why,
        };
        let text = match fs::read(dir.join("about.json")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Unknown(name.to_owned()));
            }
            other => other.map_err(|e| damaged(e.to_string()))?,
        };
        let about: About = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if about.version != VERSION {
            return Err(damaged(format!("version {} is unknown", about.version)));
        }
        Ok(Layer {
            name: name.to_owned(),
            dir,
            source: OsString::from(&about.source).into(),
            made: UNIX_EPOCH + Duration::from_secs(about.made),
            command: about.command.iter().map(OsString::from).collect(),
        })
    }

    /// All layers, newest first. Damaged ones are left out of it and told in the second list.
    pub fn list(&self) -> Result<(Vec<Layer>, Vec<Error>), Error> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            other => other.map_err(Error::io(format!("reading {}", self.dir.display())))?,
        };
        let (mut layers, mut damaged) = (Vec::new(), Vec::new());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| check_name(name).is_ok()) else {
                continue;
            };
            match self.get(name) {
                Ok(layer) => layers.push(layer),
                Err(error) => damaged.push(error),
            }
        }
        layers.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| b.name.cmp(&a.name)));
        Ok((layers, damaged))
    }

    /// The layer meant by a command line: the one named, else the newest of directory `here` or of
    /// one above it, else the newest.
    pub fn meant(&self, name: Option<&str>, here: Option<&Path>) -> Result<Layer, Error> {
        if let Some(name) = name {
            return self.get(name);
        }
        let (layers, _) = self.list()?;
        let local = here.and_then(|here| layers.iter().find(|l| here.starts_with(&l.source)));
        local.or(layers.first()).cloned().ok_or(Error::None)
    }
}

impl Layer {
    /// The upper directory, opened; `None` if no run has used the layer yet.
    pub fn upper(&self) -> Result<Option<OwnedFd>, Error> {
        self.part("upper")
    }

    fn part(&self, name: &str) -> Result<Option<OwnedFd>, Error> {
        let path = CString::new(self.dir.join(name).as_os_str().as_bytes());
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        match path
            .map_err(|_| Errno::EINVAL)
            .and_then(|path| sys::fs::open(&path, flags))
        {
            Err(Errno::ENOENT) => Ok(None),
            other => other
                .map(Some)
                .map_err(Error::of(format!("layer '{}'", self.name))),
        }
    }

    /// Claims the layer, so that no run can begin to use it. [`Error::InUse`] if one does.
    pub fn claim(&self) -> Result<Claim, Error> {
        let work = match File::open(self.dir.join("work")) {
            // Never used.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Claim(None)),
            other => other.map_err(Error::io(format!("layer '{}'", self.name)))?,
        };
        match Flock::lock(work, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Claim(Some(held))),
            Err((_, Errno::EWOULDBLOCK)) => Err(Error::InUse(self.name.clone())),
            Err((_, errno)) => Err(Error::of(format!("layer '{}'", self.name))(errno)),
        }
    }

    /// The claim of the run that has used the layer itself and is over: its threads may not all have let go
    /// of it yet.
    pub fn own(&self) -> Claim {
        Claim(None)
    }

    /// Removes the layer and all that it holds.
    pub fn remove(&self, claim: Claim) -> Result<(), Error> {
        let fail = || Error::of(format!("removing layer '{}'", self.name));
        let above = open_all(self.dir.parent().unwrap_or(Path::new("/"))).map_err(fail())?;
        // At once it is no layer any more: whatever is interrupted after that leaves rubbish, not half a layer.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let gone = format!(
            "{GONE}{}-{:x}",
            self.name,
            now.unwrap_or_default().as_nanos()
        );
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(&above, &*self.name, &above, &*gone, flags) {
            Err(Errno::ENOENT) => return Err(Error::Unknown(self.name.clone())),
            other => other.map_err(fail())?,
        }
        drop(claim);
        let gone = CString::new(gone).map_err(|_| fail()(Errno::EINVAL))?;
        if remove_bare(above.as_fd(), &gone).is_ok() {
            return Ok(());
        }
        changes::on_a_deep_stack(|| remove_tree(above.as_fd(), &gone))?.map_err(fail())
    }

    /// The bytes that the layer's changes take on disk.
    pub fn size(&self) -> u64 {
        fn below(dir: &OwnedFd) -> u64 {
            let names = names_in(dir.as_fd()).unwrap_or_default();
            names
                .iter()
                .filter_map(|name| {
                    let flags = libc::AT_SYMLINK_NOFOLLOW;
                    let stat = sys::fs::fstatat(dir.as_fd(), name, flags).ok()?;
                    let own = stat.st_blocks.cast_unsigned() * 512;
                    let rest = crate::vfs::cow::open_dir(dir.as_fd(), name);
                    Some(own + rest.map_or(0, |dir| below(&dir)))
                })
                .sum()
        }
        self.upper().ok().flatten().map_or(0, |dir| below(&dir))
    }
}

/// Removes a layer that holds nothing, as most runs leave it, in as many calls as it has parts.
fn remove_bare(layers: BorrowedFd<'_>, name: &CStr) -> sys::Result<()> {
    let dir = sys::fs::openat(
        layers,
        name,
        libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW,
        0,
    )?;
    for part in [c"upper", c"work", c"index"] {
        sys::fs::unlinkat(dir.as_fd(), part, libc::AT_REMOVEDIR)?;
    }
    sys::fs::unlinkat(dir.as_fd(), c"about.json", 0)?;
    sys::fs::unlinkat(layers, name, libc::AT_REMOVEDIR)
}

/// Proof that no run uses a layer.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held for its lock")] Option<Flock<File>>);

/// The directory of all layers.
fn open_all(dir: &Path) -> Result<OwnedFd, Errno> {
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    sys::fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY)
}

fn open(dir: &Path) -> Result<OwnedFd, Errno> {
    let path = CString::new(dir.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // Sources are recorded by their real paths: a link on the way was put there since.
    sys::fs::open_without_links(&path, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Names are path components and words of command lines: [`Error::BadName`] for what can't be both.
pub fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(Error::BadName(name.to_owned()))
    }
}

/// A name that says where and, by order, when: the source's last name and a short number.
fn generated(source: &Path, seconds: u64, number: u32) -> String {
    let last = source.file_name().unwrap_or(OsStr::new("root"));
    let last: String = last
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c))
        .take(24)
        .collect();
    let last = last.trim_start_matches('-');
    let last = if last.is_empty() { "dir" } else { last };
    // Hexadecimal, to keep it short; it grows with time, so that names sort by age.
    let short = seconds % (1 << 32);
    match number {
        0 => format!("{last}-{short:x}"),
        _ => format!("{last}-{short:x}.{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_components() {
        for (name, good) in [
            ("proj-1", true),
            ("a.b_c", true),
            ("", false),
            (".", false),
            ("..", false),
            (".new-1", false),
            ("-x", false),
            ("a/b", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name:?}");
        }
        assert!(check_name(&"x".repeat(64)).is_ok());
        assert!(check_name(&"x".repeat(65)).is_err());
        for source in ["/", "/home/me/proj", "/x/--", "/x/ä ö", "/x/.hidden"] {
            let name = generated(Path::new(source), 1_800_000_000, 3);
            assert!(check_name(&name).is_ok(), "{name:?} for {source}");
        }
    }

    #[test]
    fn text_stays_text_and_bytes_stay_bytes() {
        for bytes in [&b"/plain"[..], b"/\xff\xfe", b""] {
            let text = serde_json::to_string(&Bytes::from(OsStr::from_bytes(bytes))).unwrap();
            let back: Bytes = serde_json::from_str(&text).unwrap();
            assert_eq!(OsString::from(&back).as_bytes(), bytes, "{text}");
        }
    }
}
