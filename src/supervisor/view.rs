//! The view of a run without a policy file: defaults and flags become mounts and rules.

pub mod audit;
mod identity;
mod names;
mod network;
pub mod policy;
mod root;
mod system;

pub use crate::vfs::{Identity, check_hostname};
pub use root::{Changes, Root};

use names::{absolute, names, places};

use crate::policy::{Access, Ask, Policy, Rule, RuleId, Verdict};
use crate::sys::Errno;
use crate::syscall::rules::Net;
pub use crate::vfs::cow::Sync;
use crate::vfs::mount::{CowTree, HostObject, Mount, MountTable, PrivateDir, PrivateText, Source};
use crate::vfs::path::{VPath, components, strip_prefix};
use crate::vfs::{Scratch, Vfs};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What of the host the user wants to see where, in the order of the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// `--ro P`
    ReadOnly(PathBuf),
    /// `--rw P`
    ReadWrite(PathBuf),
    /// `--hide P`
    Hide(PathBuf),
    /// `--bind SRC:DST[:ro]`
    Bind {
        /// On the host.
        source: PathBuf,
        /// In the view.
        target: PathBuf,
        /// Read-only.
        ro: bool,
    },
    /// `--tmpfs P[:SIZE]`
    Tmpfs {
        /// In the view.
        path: PathBuf,
        /// How many bytes it may hold.
        size: Option<u64>,
    },
    /// `--file P=TEXT`
    File {
        /// In the view.
        path: PathBuf,
        /// What is in it.
        text: Vec<u8>,
    },
    /// `--cow DIR[=LAYER]`
    CopyOnWrite {
        /// On the host.
        dir: PathBuf,
        /// Which layer keeps the changes; `None`: a new one.
        layer: Option<String>,
    },
}

/// Where the changes of a copy-on-write directory go.
pub struct Store {
    /// A directory on the host, whose contents are the engine's.
    pub path: PathBuf,
    /// What of it must survive a crash of the machine.
    pub sync: Sync,
}

/// Finds a store for the changes of a directory, by the name of a layer or a new one.
pub type StoreFor<'s> = &'s mut dyn FnMut(&Path, Option<&str>) -> Result<Store, String>;

/// Where copy-on-write directories keep their changes.
pub struct Stores<'s> {
    /// Asked for each of them.
    pub make: StoreFor<'s>,
    /// The user has named one: without it nothing is run.
    pub named: bool,
    /// Files of the host that sbox writes during the run: no guest sees them.
    pub own: Vec<PathBuf>,
}

/// Why a view can't be built: what was asked for, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ViewError {
    what: String,
    why: String,
}

/// The view and the rules that go with it.
pub struct View {
    /// Its files.
    pub vfs: Vfs,
    /// What may be done to them.
    pub policy: Policy,
    /// Where the guest starts.
    pub cwd: VPath,
    /// One line for the user: what is enforced.
    pub summary: String,
}

struct Builder {
    policy: Policy,
    mounts: Vec<Mount>,
    scratch: Scratch,
    tmpfs: u32,
    files: u32,
    /// The directory of the host that holds all layers.
    layers: Option<PathBuf>,
}

impl Builder {
    fn rule(&mut self, grants: Access, origin: String) -> RuleId {
        self.policy.add(Rule { grants, origin })
    }

    fn mount(&mut self, at: VPath, source: Source, grants: Access, origin: String) {
        let rule = self.rule(grants, origin);
        self.mounts.push(Mount { at, source, rule });
    }

    fn host(
        &mut self,
        at: VPath,
        source: &Path,
        ro: bool,
        origin: String,
    ) -> Result<(), ViewError> {
        let fail = |errno: Errno| ViewError {
            what: origin.clone(),
            why: errno.desc().into(),
        };
        let path = CString::new(source.as_os_str().as_bytes()).map_err(|_| fail(Errno::EINVAL))?;
        let object = HostObject::open(&path).map_err(fail)?;
        self.object(at, object, ro, origin.clone()).map_err(fail)
    }

    fn object(
        &mut self,
        at: VPath,
        object: HostObject,
        ro: bool,
        origin: String,
    ) -> Result<(), Errno> {
        let stat = crate::sys::fs::fstat(object.fd.as_fd())?;
        let is_dir = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let source = if is_dir {
            Source::Dir(object)
        } else {
            Source::File(object)
        };
        let grants = if ro { Access::READ_ONLY } else { Access::ALL };
        self.mount(at, source, grants, origin);
        Ok(())
    }

    /// A file of our own: what a guest gets is a real descriptor, and its number stays the same.
    fn file(&mut self, path: &Path, text: &[u8], origin: &str) -> Result<(), ViewError> {
        let fail = |why: String| ViewError {
            what: origin.to_owned(),
            why,
        };
        self.files += 1;
        let name = CString::new(format!("file{}", self.files)).unwrap_or_default();
        let made = self.scratch.text(&name, text);
        let made = made.map_err(|e| fail(e.to_string()))?;
        for at in names(path, origin)? {
            self.host(at, &made, true, origin.to_owned())?;
        }
        Ok(())
    }

    fn tmpfs(&mut self, at: VPath, limit: Option<u64>, origin: String) {
        self.tmpfs += 1;
        let name = CString::new(format!("tmp{}", self.tmpfs)).unwrap_or_default();
        let dir = PrivateDir::new(&self.scratch, &name, 0o1777, limit);
        self.mount(at, Source::Private(dir), Access::ALL, origin);
    }

    /// `dir` with its changes kept apart.
    fn tree(
        &mut self,
        dir: &Path,
        layer: Option<&str>,
        origin: &str,
        stores: &mut Stores<'_>,
    ) -> Result<CowTree, ViewError> {
        let fail = |why: String| ViewError {
            what: origin.to_owned(),
            why,
        };
        let raw = |errno: Errno| fail(errno.desc().into());
        let open = |path: &Path| {
            let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
            HostObject::open(&path)
        };
        let lower = open(dir).map_err(raw)?;
        let stat = crate::sys::fs::fstat(lower.fd.as_fd()).map_err(raw)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return Err(raw(Errno::ENOTDIR));
        }
        let store = (stores.make)(dir, layer).map_err(fail)?;
        let held = open(&store.path).map_err(raw)?;
        CowTree::open(&held, vec![lower], store.sync).map_err(|errno| {
            fail(match errno {
                Errno::EBUSY => "another run uses its layer".into(),
                errno => format!("its layer {}: {}", store.path.display(), errno.desc()),
            })
        })
    }

    /// `dir` with a layer over it, and its real name.
    fn cow_tree(
        &mut self,
        dir: &Path,
        layer: Option<&str>,
        origin: &str,
        stores: &mut Stores<'_>,
    ) -> Result<(VPath, CowTree), ViewError> {
        let fail = |why: String| ViewError {
            what: origin.to_owned(),
            why,
        };
        let real = fs::canonicalize(dir).map_err(|e| fail(e.to_string()))?;
        let tree = self.tree(&real, layer, origin, stores)?;
        let Some(at) = VPath::clean(real.as_os_str().as_bytes()) else {
            return Err(fail(Errno::EINVAL.desc().into()));
        };
        Ok((at, tree))
    }

    /// Shows `dir` copy-on-write, and under other names links to it.
    fn copy_on_write(
        &mut self,
        dir: &Path,
        layer: Option<&str>,
        origin: &str,
        stores: &mut Stores<'_>,
    ) -> Result<(), ViewError> {
        let (at, tree) = self.cow_tree(dir, layer, origin, stores)?;
        let source = Source::Cow(tree);
        self.mount(at.clone(), source, Access::ALL, origin.to_owned());
        for other in places(dir, origin)? {
            if other != at {
                let text = Source::Symlink(at.as_bytes().into());
                self.mount(other, text, Access::READ_ONLY, origin.to_owned());
            }
        }
        Ok(())
    }

    fn wish(&mut self, wish: &Wish, stores: &mut Stores<'_>) -> Result<(), ViewError> {
        match wish {
            Wish::CopyOnWrite { dir, layer } => {
                let origin = format!("flag --cow {}", dir.display());
                self.copy_on_write(dir, layer.as_deref(), &origin, stores)
            }
            Wish::ReadOnly(path) => {
                let origin = format!("flag --ro {}", path.display());
                for at in places(path, &origin)? {
                    self.host(at, path, true, origin.clone())?;
                }
                Ok(())
            }
            Wish::ReadWrite(path) => {
                let origin = format!("flag --rw {}", path.display());
                for at in places(path, &origin)? {
                    self.host(at, path, false, origin.clone())?;
                }
                Ok(())
            }
            Wish::Hide(path) => {
                let origin = format!("flag --hide {}", path.display());
                for at in places(path, &origin)? {
                    self.mount(at, Source::Hidden, Access::NONE, origin.clone());
                }
                Ok(())
            }
            Wish::Bind { source, target, ro } => {
                let tail = if *ro { ":ro" } else { "" };
                let origin = format!(
                    "flag --bind {}:{}{tail}",
                    source.display(),
                    target.display()
                );
                let Some(at) = VPath::clean(target.as_os_str().as_bytes()) else {
                    let why = "the place in the view must be an absolute path".into();
                    return Err(ViewError { what: origin, why });
                };
                self.host(at, source, *ro, origin)
            }
            Wish::File { path, text } => {
                let origin = format!("flag --file {}", path.display());
                self.file(path, text, &origin)
            }
            Wish::Tmpfs { path, size } => {
                let tail = size.map_or(String::new(), |size| format!(":{size}"));
                let origin = format!("flag --tmpfs {}{tail}", path.display());
                if size.is_some() && !self.scratch.has_leases() {
                    let why = format!(
                        "the file system of {} has no leases (fcntl(2)), without which nobody can tell what \
                         is still open\n  hint: TMPDIR names another directory",
                        self.scratch.base().display()
                    );
                    return Err(ViewError { what: origin, why });
                }
                self.tmpfs(absolute(path, &origin)?, *size, origin);
                Ok(())
            }
        }
    }

    /// What we keep for ourselves on the host is in no view, whatever else is: a guest that could write
    /// there would choose what we open.
    fn hide_own(&mut self, files: &[PathBuf]) {
        let layers = self.layers.iter().map(|dir| real(dir));
        // Other runs of this user may have other temporary directories.
        let base = self.scratch.base();
        let others = ["/tmp", "/var/tmp"].map(Path::new).into_iter();
        let others = others.filter_map(|dir| Some(dir.join(base.file_name()?)));
        let files = files.iter().map(|file| real(file));
        let all = layers.chain(others).chain([base.to_owned()]).chain(files);
        let own: Vec<PathBuf> = all.collect();
        let mut places = Vec::new();
        for (mount, own) in self
            .mounts
            .iter()
            .flat_map(|m| own.iter().map(move |o| (m, o)))
        {
            let shown: Vec<&[u8]> = match &mount.source {
                Source::Dir(object) | Source::File(object) => vec![&object.path.0],
                Source::Cow(tree) => tree.layers.iter().map(|path| &*path.0).collect(),
                _ => continue,
            };
            let own = own.as_os_str().as_bytes();
            let rests = shown.iter().filter_map(|shown| strip_prefix(own, shown));
            let at = |rest| components(rest).fold(mount.at.clone(), |at, name| at.join(name));
            places.extend(rests.map(at));
        }
        for at in places {
            self.mount(at, Source::Hidden, Access::NONE, "sbox's own files".into());
        }
    }

    fn covers(&self, path: &VPath) -> bool {
        self.mounts.iter().any(|m| {
            matches!(
                m.source,
                Source::Dir(_) | Source::Private(_) | Source::Cow(_) | Source::File(_)
            ) && path.below(&m.at).is_some()
        })
    }
}

/// Where a directory lies that need not exist yet: by its nearest ancestor that does.
fn real(dir: &Path) -> PathBuf {
    match (fs::canonicalize(dir), dir.parent(), dir.file_name()) {
        (Err(_), Some(above), Some(name)) => real(above).join(name),
        (found, ..) => found.unwrap_or_else(|_| dir.to_owned()),
    }
}

impl View {
    /// Builds the view. `cwd` is a path of the view; `None`: the caller's own, shown copy-on-write.
    /// `layers` is the host's directory of all layers.
    pub fn build(
        wishes: &[Wish],
        root: Option<&Root>,
        machine: Identity,
        cwd: Option<&Path>,
        net: Net,
        layers: Option<PathBuf>,
        stores: &mut Stores<'_>,
    ) -> Result<Self, ViewError> {
        let mut b = Builder::new(layers)?;
        let synthetic = b.rule(Access::READ_ONLY, "the view's own directories".into());
        let mut notes = vec![match root {
            None => {
                b.system();
                "system directories read-only, private /tmp".to_owned()
            }
            Some(root) => format!("{}, private /tmp", b.root(root, stores)?),
        }];
        b.machine();
        let place = |text: &str| VPath::clean(text.as_bytes()).unwrap_or_else(VPath::root);
        b.mount(
            place("/dev"),
            Source::Dev,
            Access::READ_ONLY,
            "default: /dev".into(),
        );
        b.mount(
            place("/proc"),
            Source::Proc,
            Access::READ_ONLY,
            "default: /proc".into(),
        );
        b.tmpfs(place("/tmp"), None, "default: private /tmp".into());
        b.tmpfs(place("/dev/shm"), None, "default: private /dev/shm".into());
        let (start, note) = b.working_directory(wishes, cwd, root.is_some(), stores)?;
        notes.push(note);
        if net == Net::Host {
            match root {
                None => b.resolver()?,
                Some(_) => b.name_servers()?,
            }
        }
        b.identity(&machine, root, net)?;
        for wish in wishes {
            b.wish(wish, stores)?;
        }
        b.second_machine_id(&machine);
        b.hide_own(&stores.own);
        notes.extend(wishes.iter().map(describe));
        notes.push(match net {
            Net::None => "no network".to_owned(),
            Net::Host => "the host's network".to_owned(),
        });
        b.finish(synthetic, machine, start, notes.join("; "))
    }
}

impl Builder {
    fn new(layers: Option<PathBuf>) -> Result<Self, ViewError> {
        let scratch = Scratch::new().map_err(|e| ViewError {
            what: format!(
                "making a private directory in {}",
                std::env::temp_dir().display()
            ),
            why: format!("{e}\n  hint: TMPDIR names another place for temporary files"),
        })?;
        Ok(Self {
            policy: Policy::default(),
            mounts: Vec::new(),
            scratch,
            tmpfs: 0,
            files: 0,
            layers,
        })
    }

    fn finish(
        self,
        synthetic: RuleId,
        machine: Identity,
        cwd: VPath,
        summary: String,
    ) -> Result<View, ViewError> {
        let Self {
            policy,
            mounts,
            scratch,
            ..
        } = self;
        let writable: Vec<RuleId> = mounts
            .iter()
            .map(|mount| mount.rule)
            .filter(|&rule| {
                let ask = Ask {
                    access: Access::WRITE,
                    rule,
                };
                // What the user may allow counts as allowed.
                matches!(policy.decide(ask).verdict, Verdict::Allow | Verdict::Ask(_))
            })
            .collect();
        let vfs =
            Vfs::new(MountTable::new(mounts), scratch, synthetic).map_err(|errno| ViewError {
                what: "setting up the file system".into(),
                why: errno.desc().into(),
            })?;
        vfs.tell_writable(writable);
        Ok(View {
            vfs: vfs.on(machine),
            policy,
            cwd,
            summary,
        })
    }

    /// Where the guest starts, and what is shown there by default; nothing where the root is another one
    /// than the host's.
    fn working_directory(
        &mut self,
        wishes: &[Wish],
        cwd: Option<&Path>,
        elsewhere: bool,
        stores: &mut Stores<'_>,
    ) -> Result<(VPath, String), ViewError> {
        let fail = |why: String| ViewError {
            what: "the working directory".into(),
            why,
        };
        if let Some(cwd) = cwd {
            let at = VPath::clean(cwd.as_os_str().as_bytes())
                .ok_or_else(|| fail("--cwd wants an absolute path of the view".into()))?;
            let note = format!("working directory {at}");
            return Ok((at, note));
        }
        let here = std::env::current_dir().map_err(|e| fail(e.to_string()))?;
        let at = VPath::clean(here.as_os_str().as_bytes()).unwrap_or_else(VPath::root);
        let wished = wishes.iter().any(|w| match w {
            Wish::ReadOnly(p) | Wish::ReadWrite(p) | Wish::CopyOnWrite { dir: p, .. } => {
                absolute(p, "").is_ok_and(|p| at.below(&p).is_some())
            }
            Wish::Bind { target, .. } => {
                VPath::clean(target.as_os_str().as_bytes()).is_some_and(|t| at.below(&t).is_some())
            }
            _ => false,
        });
        if wished || !elsewhere && self.covers(&at) && !is_temp(&at) {
            return Ok((at.clone(), format!("working directory {at}")));
        }
        if elsewhere {
            return Ok((VPath::root(), "starting in /".into()));
        }
        // A home directory holds keys and tokens: it is shown only to those who ask for it.
        let home = std::env::var_os("HOME").and_then(|h| VPath::clean(h.as_bytes()));
        if home.is_some_and(|home| home.below(&at).is_some()) {
            let note =
                format!("{at} hidden (it is or holds your home; --ro . shows it), starting in /");
            return Ok((VPath::root(), note));
        }
        if at.as_bytes() == b"/tmp" {
            return Ok((at, "starting in the private /tmp".into()));
        }
        match self.copy_on_write(&here, None, "default: current directory", stores) {
            Ok(()) => Ok((at.clone(), format!("{at} copy-on-write"))),
            Err(error) if stores.named => Err(error),
            // It could not keep changes: then there are none.
            Err(ViewError { why, .. }) => {
                let origin = "default: current directory read-only".into();
                self.host(at.clone(), &here, true, origin)?;
                let note = format!("{at} read-only (no copy-on-write: {why})");
                Ok((at.clone(), note))
            }
        }
    }
}

fn is_temp(at: &VPath) -> bool {
    VPath::clean(b"/tmp").is_some_and(|tmp| at.below(&tmp).is_some())
}

fn describe(wish: &Wish) -> String {
    match wish {
        Wish::ReadOnly(p) => format!("{} read-only", p.display()),
        Wish::ReadWrite(p) => format!("{} writable", p.display()),
        Wish::Hide(p) => format!("{} hidden", p.display()),
        Wish::Bind { source, target, ro } => {
            let how = if *ro { "read-only" } else { "writable" };
            format!("{} at {} {how}", source.display(), target.display())
        }
        Wish::File { path, text } => format!("{} of {} bytes", path.display(), text.len()),
        Wish::Tmpfs { path, size: None } => format!("{} private and empty", path.display()),
        Wish::Tmpfs {
            path,
            size: Some(size),
        } => format!("{} private, at most {size} bytes", path.display()),
        Wish::CopyOnWrite { dir, .. } => format!("{} copy-on-write", dir.display()),
    }
}
