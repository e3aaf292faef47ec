//! What would lead around a rule, or make it miss: symbolic links in its path, and second places of what it is about.

use super::{Placed, Planner, What, join, shown, upwards};
use crate::policy::{Access, RuleId};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A place that a rule is about and walks ask for.
pub(super) struct AskedFor<'s> {
    at: &'s [u8],
    /// The directory of the host in which it lies.
    dir: Rc<Path>,
    /// Where in `at` its name begins, with the slash.
    name: usize,
    id: Option<RuleId>,
}

impl AskedFor<'_> {
    /// What of the host is meant.
    fn host(&self) -> PathBuf {
        let name = self.at.get(self.name..).unwrap_or_default();
        join(self.dir.as_os_str().as_bytes(), name)
    }
}

/// What directories of the host list. Of a directory that rules ask about again and again all names are read at once: most of
/// thousands may be missing.
#[derive(Default)]
pub(super) struct Listings(FxHashMap<Vec<u8>, Listing>);

#[derive(Default)]
struct Listing {
    asked: usize,
    /// Each name, and whether it is a symbolic link.
    names: Option<FxHashMap<Vec<u8>, bool>>,
}

impl Listings {
    /// So often names are looked for one by one.
    const FEW: usize = 64;
    /// Directories with more names are not read as a whole.
    const MOST: usize = 20_000;

    /// Whether a name of a directory is a symbolic link; `None`: there is no such name.
    fn is_link(&mut self, dir: &[u8], name: &[u8]) -> Option<bool> {
        let listing = match self.0.get_mut(dir) {
            Some(listing) => listing,
            None => self.0.entry(dir.to_owned()).or_default(),
        };
        listing.asked += 1;
        if listing.asked == Self::FEW {
            listing.names = Self::read(dir);
        }
        match &listing.names {
            Some(names) => names.get(name).copied(),
            None => {
                let meta = fs::symlink_metadata(join(dir, &[b"/", name].concat()));
                meta.ok().map(|meta| meta.is_symlink())
            }
        }
    }

    /// `None`: it can't be read, or has too many names.
    fn read(dir: &[u8]) -> Option<FxHashMap<Vec<u8>, bool>> {
        let mut names = FxHashMap::default();
        for entry in fs::read_dir(join(dir, b"")).ok()? {
            let entry = entry.ok()?;
            let is_link = entry.file_type().ok()?.is_symlink();
            names.insert(entry.file_name().into_vec(), is_link);
            if names.len() > Self::MOST {
                return None;
            }
        }
        Some(names)
    }
}

impl<'s> Planner<'s> {
    /// What a rule about one place needs so that walks find it: they ask about paths without links.
    pub(super) fn seen_by_walks(&mut self, at: &'s [u8], id: Option<RuleId>) {
        let Some(Placed {
            at: above,
            host: Some(host),
            ..
        }) = self.around(at)
        else {
            return;
        };
        let (above, host) = (above.len(), host.clone());
        let Some(mut last) = self.last.take() else {
            return;
        };
        let name = last.dir.len();
        let (dir, linked) = last.host.get_or_insert_with(|| {
            let rest = last.dir.get(above..).unwrap_or_default();
            let dir = join(self.real(&host).as_os_str().as_bytes(), rest);
            let linked = self.has_link(dir.as_os_str().as_bytes());
            (dir.into(), linked)
        });
        let asked = AskedFor {
            at,
            dir: Rc::clone(dir),
            name,
            id,
        };
        if *linked {
            self.gap(id, self.behind_link(&asked.host(), at));
        }
        self.asked.push(asked);
        self.last = Some(last);
    }

    fn behind_link(&self, path: &Path, at: &[u8]) -> String {
        let parts = path.parent().zip(path.file_name());
        let real = parts.map(|(parent, name)| self.real(parent).join(name));
        format!(
            "{} leads through a symbolic link: the rule must say {}",
            shown(at),
            real.as_deref().unwrap_or(path).display()
        )
    }

    /// Whether the directory of a path of the host lies behind a symbolic link, which is a gap.
    pub(super) fn leads_through_link(
        &mut self,
        path: Option<&Path>,
        at: &[u8],
        id: Option<RuleId>,
    ) -> bool {
        let parts = path.and_then(|path| Some((path, path.parent()?)));
        let Some((path, parent)) = parts else {
            return false;
        };
        let linked = self.has_link(parent.as_os_str().as_bytes());
        if linked {
            self.gap(id, self.behind_link(path, at));
        }
        linked
    }

    fn has_link(&self, dir: &[u8]) -> bool {
        self.link(dir) == Some(true)
    }

    /// Whether a directory of the host, or one above, is a symbolic link; `None`: there is none.
    fn link(&self, dir: &[u8]) -> Option<bool> {
        let dir = dir.strip_suffix(b"/").unwrap_or(dir);
        let Some(above) = upwards(dir).nth(1) else {
            return Some(false);
        };
        if let Some(&known) = self.links.borrow().get(dir) {
            return Some(known);
        }
        match self.link(above) {
            Some(false) => {}
            // Below what is not there is nothing.
            over => return over,
        }
        let name = dir.get(above.len() + 1..).unwrap_or_default();
        let found = self.listings.borrow_mut().is_link(above, name)?;
        self.links.borrow_mut().insert(dir.to_owned(), found);
        Some(found)
    }

    /// One directory may be shown at two places. What a rule takes away at the one must not be had at the other.
    pub(super) fn second_names(&mut self) {
        let mut roots: HashMap<Vec<u8>, Vec<&[u8]>> = HashMap::new();
        for placed in self.placed.iter().filter(|p| p.what.is_walked()) {
            if let What::Host(path) | What::Cow(path) = &placed.what {
                // Where a place lies through links its own name is a gap; what a mount binds may be one.
                let path = if placed.explicit {
                    self.real(path)
                } else {
                    path.clone()
                };
                let path = path.as_os_str().as_bytes();
                let path = path.strip_suffix(b"/").unwrap_or(path);
                roots.entry(path.to_vec()).or_default().push(&placed.at);
            }
        }
        let others = |at: &[u8], host: &[u8]| -> Vec<Vec<u8>> {
            let all = upwards(host).filter_map(|above| Some((above, roots.get(above)?)));
            let places = all.flat_map(|(above, tops)| {
                let rest = host.get(above.len()..).unwrap_or_default();
                tops.iter().map(move |top| [top, rest].concat())
            });
            places.filter(|other| other != at).collect()
        };
        // Mostly nothing is shown twice.
        let shown_twice = roots.iter().any(|(host, tops)| {
            tops.len() > 1 || upwards(host).skip(1).any(|above| roots.contains_key(above))
        });
        if !shown_twice {
            return;
        }
        let mut found = Vec::new();
        let places = self
            .placed
            .iter()
            .filter(|p| !p.explicit && !matches!(p.what, What::Nothing | What::Link(_)));
        let places = places.filter_map(|p| Some((&p.at[..], p.host.as_deref()?, p.id)));
        let places = places.map(|(at, host, id)| (at, Cow::Borrowed(host), id));
        let asked = self.asked.iter();
        let asked = asked.map(|asked| (asked.at, Cow::Owned(asked.host()), asked.id));
        for (at, host, id) in places.chain(asked) {
            for other in others(at, host.as_os_str().as_bytes()) {
                let (here, there) = (self.sheets.decide(at), self.sheets.decide(&other));
                let both = || (shown(at), shown(&other));
                if !here.effect.granted().has(there.effect.granted()) {
                    let (at, other) = both();
                    let holds = there.effect;
                    found.push((
                        id,
                        format!("{at} is shown as {other} too, where {holds} holds"),
                    ));
                } else if there.effect.at_most().has(Access::EXEC) {
                    let there: Vec<_> = self.sheets.start_rules(&there).collect();
                    let mut missing = self.sheets.start_rules(&here);
                    if let Some(rule) = missing.find(|rule| !there.contains(rule)) {
                        let (at, other) = both();
                        let why = format!(
                            "{at} is shown as {other} too, and started without this rule there: one rule can name both, \"{{A,B}}\""
                        );
                        found.push((Some(rule), why));
                    }
                }
            }
        }
        let rules = self
            .sheets
            .all
            .iter()
            .flat_map(|s| s.files.rules().iter().chain(s.exec.rules()));
        let wildcards: Vec<_> = rules
            .filter(|rule| rule.pattern.place().is_none())
            .collect();
        if !wildcards.is_empty() {
            for (host, tops) in &roots {
                for at in tops {
                    for other in others(at, host) {
                        let reaches = |place: &[u8], literal: &[u8]| {
                            literal.starts_with(place) || place.starts_with(literal)
                        };
                        let here = wildcards.iter().filter(|rule| {
                            let literal = rule.pattern.literal();
                            reaches(at, literal) || reaches(&other, literal)
                        });
                        if !self.names.same_below(at, &other) {
                            found.extend(here.map(|rule| {
                                (
                                    Some(rule.id),
                                    format!(
                                        "{}: {} is shown as {} too, where it may not hold",
                                        rule.pattern.text(),
                                        shown(at),
                                        shown(&other)
                                    ),
                                )
                            }));
                        }
                    }
                }
            }
        }
        for (id, why) in found {
            self.gap(id, why);
        }
    }
}
