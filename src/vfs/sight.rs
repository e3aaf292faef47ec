//! What the walks of a call have come upon, for those who want to know: reports, audits, recorders.
//!
//! Who doesn't listen pays one look at an `Option` for each walk.

use super::dir::Dir;
use super::path::{VPath, strip_prefix};
use super::{Found, Place, Vfs};
use crate::policy::RuleId;
use crate::policy::arguments::Reach;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};

/// What a walk has met at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The end of the path, and something is there.
    There,
    /// The end of the path: a name that a call makes, removes or reads as it is.
    Name,
    /// Nothing, at the end or on the way.
    Nothing,
    /// A symbolic link, which was followed.
    Link,
}

/// A path of the view, and what a walk has met there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The path.
    pub path: Vec<u8>,
    /// What is there.
    pub met: Met,
    /// Where the walk could not go on: all that was asked for, as it was written.
    pub whole: Option<Vec<u8>>,
}

/// A program by its path in the view, and what it is given behind `argv[0]`.
type Started = (Vec<u8>, Vec<Vec<u8>>);

/// All sightings of one call, in their order.
#[derive(Debug, Default)]
pub struct Sight {
    walks: RefCell<Vec<Sighting>>,
    /// Programs that the call starts, and what each is given behind `argv[0]`.
    started: RefCell<Vec<Started>>,
    /// How much of that is noted; `None`: nothing.
    reach: Option<Reach>,
}

/// A name at which the policy ends the run, if the walks of a call came to one: its rule and path.
#[derive(Debug, Default)]
pub struct Trip(RefCell<Option<(RuleId, Vec<u8>)>>);

impl Trip {
    /// Forgets the last call.
    pub fn clear(&self) {
        self.0.take();
    }

    /// What they came to first.
    pub fn taken(&self) -> Option<(RuleId, Vec<u8>)> {
        self.0.borrow().clone()
    }

    pub(super) fn set(&self, rule: RuleId, path: Vec<u8>) {
        self.0.borrow_mut().get_or_insert((rule, path));
    }
}

/// A call walks few paths, with at most 40 links each.
const MOST: usize = 256;

impl Sight {
    /// One that notes so much of the arguments of programs.
    pub fn new(reach: Option<Reach>) -> Self {
        Self {
            reach,
            ..Self::default()
        }
    }

    /// Forgets the last call.
    pub fn clear(&self) {
        self.walks.borrow_mut().clear();
        self.started.borrow_mut().clear();
    }

    /// How much of the arguments of programs is to be noted.
    pub fn reach(&self) -> Option<Reach> {
        self.reach
    }

    /// Notes a program, by its path in the view, and its arguments behind `argv[0]`.
    pub fn starts(&self, path: &[u8], arguments: Vec<Vec<u8>>) {
        self.started.borrow_mut().push((path.to_vec(), arguments));
    }

    /// What the program at a path is given, if it is one of those that the call starts.
    pub fn arguments_of(&self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let started = self.started.borrow();
        let mut all = started.iter().filter(|(program, _)| program == path);
        all.next().map(|(_, arguments)| arguments.clone())
    }

    /// What has been seen since, as far as it goes.
    pub fn all(&self) -> std::cell::Ref<'_, [Sighting]> {
        std::cell::Ref::map(self.walks.borrow(), Vec::as_slice)
    }

    pub(super) fn push(&self, path: Vec<u8>, met: Met) {
        let mut all = self.walks.borrow_mut();
        if all.len() < MOST {
            let whole = None;
            all.push(Sighting { path, met, whole });
        }
    }

    /// The walk has ended on its way, where nothing is: what was asked for lies below, as far as the text tells.
    pub(super) fn failed(&self, start: &Dir, path: &[u8]) {
        let whole = match (path.first(), start.path()) {
            (Some(b'/'), _) => VPath::clean(path),
            (_, Some(start)) => VPath::clean(&[start.as_bytes(), b"/", path].concat()),
            _ => None,
        };
        let mut all = self.walks.borrow_mut();
        if let (Some(whole), Some(last)) = (whole, all.last_mut())
            && last.met == Met::Nothing
        {
            // Where no link has led elsewhere.
            if strip_prefix(whole.as_bytes(), &last.path).is_some() {
                last.path = whole.as_bytes().to_vec();
            }
            last.whole = Some(whole.as_bytes().to_vec());
        }
    }

    /// At a name in a directory; those of removed directories have no path.
    pub(super) fn at(&self, dir: &Dir, name: &[u8], met: Met) {
        let bare = name.strip_suffix(b"/").unwrap_or(name);
        if let Some(path) = dir.path() {
            self.push(path.join(bare).as_bytes().to_vec(), met);
        }
    }
}

impl Vfs {
    /// Tells where a walk has ended.
    pub(super) fn tell_end(&self, sight: &Sight, place: &Place<'_>, met: Met) {
        match place {
            Place::Name { dir, name, .. } => sight.at(dir, name.to_bytes(), met),
            Place::Dir(dir, _) => {
                if let Some(path) = dir.path() {
                    sight.push(path.as_bytes().to_vec(), met);
                }
            }
            Place::File(id) => {
                if let Some(mount) = self.table.mount(*id) {
                    sight.push(mount.at.as_bytes().to_vec(), met);
                }
            }
            Place::Open(fd) => {
                let host = super::host_path(fd.as_fd()).ok();
                if let Some(path) = host.and_then(|host| self.table.to_view(&host.0)) {
                    sight.push(path.as_bytes().to_vec(), met);
                }
            }
            // Absent names, and those that only the view knows, are told where they are found.
            Place::Absent { .. } | Place::Synth(_) | Place::Link { .. } | Place::Magic(_) => {}
        }
    }

    /// The same, where it was looked whether something is there.
    pub(super) fn tell_found(&self, sight: &Sight, found: &Found<'_>) {
        let met = if found.stat.is_some() {
            Met::There
        } else {
            Met::Nothing
        };
        self.tell_end(sight, &found.place, met);
    }

    /// The path of the view at which a descriptor's file is shown.
    pub fn path_of(&self, fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
        let host = super::host_path(fd).ok()?;
        let path = self.table.to_view(&host.0)?;
        Some(path.as_bytes().to_vec())
    }
}
