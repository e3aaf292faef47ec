//! What would lead around a rule, or make it miss: symbolic links in its path, and second places of what it is about.

use super::{Placed, Planner, What, join, shown, upwards};
use crate::policy::RuleId;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
        let name = at.get(last.dir.len()..).unwrap_or_default();
        let (dir, linked) = last.host.get_or_insert_with(|| {
            let rest = last.dir.get(above..).unwrap_or_default();
            let dir = join(self.real(&host).as_os_str().as_bytes(), rest);
            let linked = self.has_link(dir.as_os_str().as_bytes());
            (dir, linked)
        });
        let host = join(dir.as_os_str().as_bytes(), name);
        if *linked {
            self.gap(id, self.behind_link(&host, at));
        }
        self.asked.push((at, host, id));
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

    /// Whether a directory of the host, or one above, is a symbolic link.
    fn has_link(&self, dir: &[u8]) -> bool {
        let dir = dir.strip_suffix(b"/").unwrap_or(dir);
        let Some(above) = upwards(dir).nth(1) else {
            return false;
        };
        if let Some(&known) = self.links.borrow().get(dir) {
            return known == Some(true);
        }
        let over = if self.has_link(above) {
            Some(true)
        } else {
            self.links
                .borrow()
                .get(above)
                .copied()
                .unwrap_or(Some(false))
        };
        // Below what is not there is nothing.
        let found = match over {
            Some(false) => {
                let meta = fs::symlink_metadata(OsStr::from_bytes(dir));
                meta.ok().map(|meta| meta.is_symlink())
            }
            other => other,
        };
        self.links.borrow_mut().insert(dir.to_owned(), found);
        found == Some(true)
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
        let asked = self.asked.iter();
        let asked = asked.map(|(at, host, id)| (*at, host.as_path(), *id));
        for (at, host, id) in places.chain(asked) {
            for other in others(at, host.as_os_str().as_bytes()) {
                let (here, there) = (
                    self.sheets.decide(at).effect,
                    self.sheets.decide(&other).effect,
                );
                if !here.granted().has(there.granted()) {
                    found.push((
                        id,
                        format!(
                            "{} is shown as {} too, where {there} holds",
                            shown(at),
                            shown(&other)
                        ),
                    ));
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
