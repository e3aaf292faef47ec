//! The view of a run with a policy file: where it begins, and what can't be enforced.
//!
//! What stands where the view begins is a mount: the top of what is shown of the host, and what `[view.mounts]`
//! says. Below them each step of a walk asks the rules ([`crate::policy::names`]), so a rule costs nothing here. What
//! neither can do is a [`Gap`]; nothing is passed over. What holds at each place is what [`Sheets::decide`] says.

mod build;
mod roads;

use crate::policy::files::Effect;
use crate::policy::lang::{Gap, MountRule, Sheets, Stands};
use crate::policy::names::Names;
use crate::policy::{Access, RuleId};
use roads::{AskedFor, Listings};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// What stands at a place.
enum What {
    Hidden,
    Host(PathBuf),
    Cow(PathBuf),
    Tmpfs(Option<u64>),
    Text(String),
    Link(Vec<u8>),
    Dev,
    Proc,
    /// What the place above shows, with the same rights.
    Nothing,
}

impl What {
    /// A directory in which each step of a walk asks the rules.
    fn is_walked(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Cow(_) | Self::Tmpfs(_))
    }
}

/// A place of the view where something begins.
struct Placed {
    at: Vec<u8>,
    effect: Effect,
    /// The rule that decided, if any did.
    id: Option<RuleId>,
    what: What,
    /// What of the host is meant, shown or not.
    host: Option<PathBuf>,
    /// `[view.mounts]` says so.
    explicit: bool,
}

/// All that can't be enforced: what the language knows, and what no mount can do.
pub fn gaps(sheets: &Arc<Sheets>) -> Vec<Gap> {
    let mut planner = Planner::new(sheets);
    planner.plan();
    planner.gaps
}

struct Planner<'s> {
    sheets: &'s Sheets,
    names: Names,
    /// Gaps are looked for, not only places.
    checks: bool,
    gaps: Vec<Gap>,
    placed: Vec<Placed>,
    /// Places that rules are about and walks ask for.
    asked: Vec<AskedFor<'s>>,
    /// Where `[view.mounts]` says that something stands.
    mount_points: HashSet<&'s [u8]>,
    /// Where something stands, in `placed`.
    shown: FxHashMap<&'s [u8], usize>,
    /// The directory of the place that was looked at last: thousands of rules may be about one.
    last: Option<Around<'s>>,
    /// Where directories of the host really are.
    real: RefCell<HashMap<PathBuf, PathBuf>>,
    /// Whether directories of the host lie behind links.
    links: RefCell<FxHashMap<Vec<u8>, bool>>,
    listings: RefCell<Listings>,
}

/// What is around the places in a directory of the view.
struct Around<'s> {
    dir: &'s [u8],
    /// In `placed`.
    shown: Option<usize>,
    /// The directory of the host that is shown there, and whether it lies behind a link; `None`: not yet asked.
    host: Option<(Rc<Path>, bool)>,
}

/// A path and all above it, the nearest first; the root is the empty text.
fn upwards(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, b)| **b == b'/');
    let above = slashes.filter_map(|(at, _)| path.get(..at));
    std::iter::once(path).chain(above)
}

/// Below `dir`, or it itself; the rest begins with a slash.
fn below<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(dir)
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Where a mount stands; the root is the empty text.
fn top(mount: &MountRule) -> &[u8] {
    let at = mount.at.as_bytes();
    at.strip_suffix(b"/").unwrap_or(at)
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        "/".into()
    } else {
        path.escape_ascii().to_string()
    }
}

impl<'s> Planner<'s> {
    fn new(sheets: &'s Arc<Sheets>) -> Self {
        Self {
            sheets,
            names: Names::new(Arc::clone(sheets)),
            checks: true,
            gaps: sheets.gaps.clone(),
            placed: Vec::new(),
            asked: Vec::new(),
            mount_points: sheets
                .all
                .first()
                .into_iter()
                .flat_map(|s| &s.mounts)
                .map(top)
                .collect(),
            shown: FxHashMap::default(),
            last: None,
            real: RefCell::default(),
            links: RefCell::default(),
            listings: RefCell::default(),
        }
    }

    fn gap(&mut self, id: Option<RuleId>, why: String) {
        // What no rule says nobody misses.
        if let Some(id) = id {
            self.gaps.push(Gap { id, why });
        }
    }

    /// No rule has decided but the default.
    fn is_default(&self, id: Option<RuleId>) -> bool {
        let rule = id.and_then(|id| self.sheets.rule(id));
        rule.is_none_or(|rule| rule.is_default)
    }

    fn mounts(&self) -> &'s [MountRule] {
        self.sheets.all.first().map_or(&[], |sheet| &sheet.mounts)
    }

    fn plan(&mut self) {
        let sheets = self.sheets;
        let mut places: Vec<(&'s [u8], Option<RuleId>, bool)> =
            vec![(b"/dev", None, false), (b"/proc", None, false)];
        let rules = sheets.all.iter().flat_map(|s| s.files.rules());
        for rule in rules {
            let begins = match rule.pattern.place() {
                Some((path, _)) => path,
                // What it shows lies below the last whole name before a wildcard.
                None if !rule.effect.hides() => match rule.pattern.literal() {
                    literal
                        if below(literal, b"/dev")
                            .or(below(literal, b"/proc"))
                            .is_some() =>
                    {
                        self.gap(Some(rule.id), format!("{}: what sbox makes can be hidden by a wildcard, but gets no rights of its own", rule.pattern.text()));
                        continue;
                    }
                    literal => upwards(literal).nth(1).unwrap_or_default(),
                },
                None => continue,
            };
            let is_place = rule.pattern.place().is_some();
            places.push((begins, Some(rule.id), !is_place));
        }
        // What [exec] takes away needs a place only where no walk asks the rules.
        let programs = sheets.all.iter().flat_map(|s| s.exec.rules());
        for rule in programs {
            if let Some((path, _)) = rule.pattern.place() {
                places.push((path, Some(rule.id), false));
            }
        }
        for mount in self.mounts() {
            places.push((top(mount), Some(mount.id), false));
        }
        // A place sorts before what is below it. Of several rules about one the first asks for it.
        places.sort_by_key(|(at, ..)| *at);
        for same in places.chunk_by(|(a, ..), (b, ..)| a == b) {
            if let [(at, id, _), ..] = same {
                self.place(at, *id, same.iter().any(|(.., leads)| *leads));
            }
        }
        if self.checks {
            self.second_names();
        }
    }

    /// What is shown around a place that is not yet placed, and with which rights.
    fn around(&mut self, at: &'s [u8]) -> Option<&Placed> {
        let dir = upwards(at).nth(1)?;
        let last = match self.last.take().filter(|last| last.dir == dir) {
            Some(last) => last,
            // What is above a place is placed before it, so this stays true for all in the directory.
            None => Around {
                dir,
                shown: upwards(dir).find_map(|above| self.shown.get(above).copied()),
                host: None,
            },
        };
        self.last
            .insert(last)
            .shown
            .and_then(|which| self.placed.get(which))
    }

    /// Where a directory of the host really is.
    fn real(&self, dir: &Path) -> PathBuf {
        let mut known = self.real.borrow_mut();
        if let Some(real) = known.get(dir) {
            return real.clone();
        }
        let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        known.insert(dir.to_owned(), real.clone());
        real
    }

    fn place(&mut self, at: &'s [u8], asked_by: Option<RuleId>, leads: bool) {
        let stands_here = self.mount_points.contains(at);
        let in_ours = |name: &[u8]| below(at, name).is_some();
        let walked = self.around(at).is_some_and(|p| p.what.is_walked());
        if walked && !stands_here && !in_ours(b"/dev") && !in_ours(b"/proc") {
            // The walk asks the rules there.
            if !leads && self.checks {
                self.seen_by_walks(at, asked_by);
            }
            return;
        }
        let ruling = self.sheets.decide(at);
        let id = ruling.because.first().copied().or(asked_by);
        let inner = self.sheets.decide(&[at, b"/\x01"].concat());
        let mount = self
            .mounts()
            .iter()
            .filter(|m| below(at, top(m)).is_some())
            .max_by_key(|m| m.at.len());
        let rest = |m: &MountRule| below(at, top(m)).unwrap_or_default().to_vec();
        let explicit = mount.is_some_and(|m| rest(m).is_empty());
        // A mount of the whole tree leaves these to sbox.
        let whole = mount.is_none_or(|m| top(m).is_empty());
        let own = |name: &str| whole && below(at, name.as_bytes()).is_some();
        let ours = own("/dev") || own("/proc");
        let host = match mount {
            Some(MountRule {
                what: Stands::Bind(dir, _) | Stands::Cow(dir),
                ..
            }) => {
                let dir = self.real(Path::new(dir));
                Some(join(
                    dir.as_os_str().as_bytes(),
                    &mount.map(rest).unwrap_or_default(),
                ))
            }
            None if self.sheets.all.first().is_some_and(|s| s.view.host_root) && !ours => {
                Some(join(b"", at))
            }
            _ => None,
        };
        if ruling.effect.hides()
            && !ours
            && (explicit || leads || !inner.effect.hides())
            && self.names.leads(&self.names.at(at))
            && let Some(what) = leading(mount.filter(|_| explicit), host.as_deref())
            && (explicit || !self.leads_through_link(host.as_deref(), at, id))
        {
            // Hidden itself, but something below is shown.
            self.shown.insert(at, self.placed.len());
            self.placed.push(Placed {
                at: at.to_vec(),
                effect: Effect::Grant(Access::LOOK.and(Access::LIST)),
                id,
                what,
                host,
                explicit,
            });
            return;
        }
        let made = self.stands(
            at,
            mount,
            host.as_deref(),
            explicit,
            ours,
            (ruling.effect, inner.effect),
            id,
        );
        let (what, effect) = match made {
            Ok(made) => made,
            Err(why) => {
                self.gap(id, why);
                return;
            }
        };
        if !matches!(what, What::Nothing) {
            self.shown.insert(at, self.placed.len());
        }
        self.placed.push(Placed {
            at: at.to_vec(),
            effect,
            id,
            what,
            host,
            explicit,
        });
    }

    #[expect(clippy::too_many_arguments, reason = "what a place is, in one place")]
    fn stands(
        &mut self,
        at: &'s [u8],
        mount: Option<&MountRule>,
        host: Option<&Path>,
        explicit: bool,
        ours: bool,
        (top, inner): (Effect, Effect),
        id: Option<RuleId>,
    ) -> Result<(What, Effect), String> {
        let around = self
            .around(at)
            .map(|p| (p.effect, matches!(p.what, What::Hidden)));
        let visible_around = matches!(around, Some((_, false)));
        let meta = host.map(fs::symlink_metadata).and_then(Result::ok);
        let is_dir = match (&meta, mount) {
            (Some(meta), _) => meta.is_dir(),
            (
                None,
                Some(MountRule {
                    what: Stands::Text(_),
                    ..
                }),
            ) => false,
            (None, _) => true,
        };
        if is_dir && top != inner && ours {
            return Err(format!(
                "{} is a directory, and the rights of itself ({top}) and of what is below ({inner}) differ: {}/** means both",
                shown(at),
                at.escape_ascii()
            ));
        }
        if let (Some(path), Some(_)) = (host, &meta)
            && let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let real = self.real(parent)
            && real != parent
        {
            return Err(format!(
                "{} leads through a symbolic link: the rule must say {}",
                shown(at),
                real.join(name).display()
            ));
        }
        if top.hides() {
            // A mount point below a missing directory would make that directory.
            let missing = match host {
                Some(path) => meta.is_none() && path.parent().is_some_and(|dir| !dir.exists()),
                None => {
                    !ours
                        && mount.is_some_and(|m| {
                            let rest = below(at, self::top(m)).unwrap_or_default();
                            rest.iter().filter(|&&b| b == b'/').count() > 1
                        })
                }
            };
            if missing && visible_around {
                let can_come =
                    around.is_some_and(|(effect, _)| effect.granted().has(Access::CREATE));
                return if can_come {
                    Err(format!(
                        "{} lies in a directory that does not exist when the run starts",
                        shown(at)
                    ))
                } else {
                    // Nothing is there, and the program can make nothing.
                    Ok((What::Nothing, top))
                };
            }
            let stands = visible_around || explicit || ours && id.is_some();
            return Ok((if stands { What::Hidden } else { What::Nothing }, top));
        }
        let same = visible_around && around.is_some_and(|(effect, _)| effect == top);
        let granted = top.granted();
        let changes = !Access::READ_ONLY.and(Access::CONNECT).has(granted);
        if ours {
            return match at {
                // What no rule lists isn't there.
                b"/dev" | b"/proc" if !granted.has(Access::READ) && self.is_default(id) => {
                    Ok((What::Hidden, Effect::Hide))
                }
                b"/dev" | b"/proc" if !granted.has(Access::READ) => Err(format!(
                    "{} is made by sbox: it can be hidden or read, and nothing less",
                    shown(at)
                )),
                b"/dev" => Ok((What::Dev, top)),
                b"/proc" => Ok((What::Proc, top)),
                _ if same => Ok((What::Nothing, top)),
                _ => Err(format!(
                    "{} is made by sbox: it can be hidden, but have no rights of its own",
                    shown(at)
                )),
            };
        }
        match (mount, explicit) {
            (
                Some(MountRule {
                    what: Stands::Tmpfs(size),
                    ..
                }),
                true,
            ) => {
                return Ok((What::Tmpfs(Some(*size).filter(|&size| size > 0)), top));
            }
            (
                Some(MountRule {
                    what: Stands::Text(_),
                    ..
                }),
                true,
            ) if changes => {
                return Err(format!(
                    "{} is a text of the policy, which nobody can write",
                    shown(at)
                ));
            }
            (
                Some(MountRule {
                    what: Stands::Text(text),
                    ..
                }),
                true,
            ) => return Ok((What::Text(text.clone()), top)),
            (
                Some(MountRule {
                    what: Stands::Bind(_, true),
                    ..
                }),
                _,
            ) if changes
                || explicit
                    && self.names.grants_beyond(
                        &self.names.at(at),
                        Access::READ_ONLY.and(Access::CONNECT),
                    ) =>
            {
                return Err(format!(
                    "{} is bound with ro = true, but the rights are {top}",
                    shown(at)
                ));
            }
            (
                Some(MountRule {
                    what: Stands::Cow(dir),
                    ..
                }),
                true,
            ) => return Ok((What::Cow(dir.into()), top)),
            _ if same && !explicit => return Ok((What::Nothing, top)),
            _ => {}
        }
        let (Some(path), Some(meta)) = (host, meta) else {
            return if visible_around {
                Err(format!(
                    "{} does not exist when the run starts, so it can have no rights of its own",
                    shown(at)
                ))
            } else if explicit || changes {
                Err(format!("{} does not exist on this host", shown(at)))
            } else {
                Ok((What::Nothing, Effect::Hide))
            };
        };
        if matches!(
            mount,
            Some(MountRule {
                what: Stands::Cow(_),
                ..
            })
        ) && changes
        {
            return Err(format!(
                "{} lies in a copy-on-write directory: what is below can be hidden, denied or read-only",
                shown(at)
            ));
        }
        if meta.is_symlink() && !explicit {
            return match (fs::read_link(path), top) {
                (Ok(text), Effect::Grant(_)) => {
                    Ok((What::Link(text.as_os_str().as_bytes().to_vec()), top))
                }
                _ => Err(format!(
                    "{} is a symbolic link, which can only be shown or hidden",
                    shown(at)
                )),
            };
        }
        Ok((What::Host(path.to_owned()), top))
    }
}

/// What stands at a directory of which only something below is shown.
fn leading(mount: Option<&MountRule>, host: Option<&Path>) -> Option<What> {
    let is_dir = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    match mount.map(|mount| &mount.what) {
        Some(Stands::Cow(dir)) => Some(What::Cow(dir.into())),
        Some(Stands::Tmpfs(size)) => Some(What::Tmpfs(Some(*size).filter(|&size| size > 0))),
        Some(Stands::Text(_)) => None,
        Some(Stands::Bind(..)) | None => Some(What::Host(host.filter(is_dir)?.to_owned())),
    }
}

fn join(dir: &[u8], rest: &[u8]) -> PathBuf {
    let whole = [dir.strip_suffix(b"/").unwrap_or(dir), rest].concat();
    OsStr::from_bytes(if whole.is_empty() { b"/" } else { &whole }).into()
}
