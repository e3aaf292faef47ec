//! The view that a policy describes, built from its places.

use super::super::{Builder, Identity, Root, Stores, View, ViewError};
use super::{Placed, Planner, What};
use crate::policy::files::Effect;
use crate::policy::lang::Sheets;
use crate::policy::names::Names;
use crate::policy::{Access, Rule, RuleId};
use crate::syscall::rules::Net;
use crate::vfs::mount::{Mount, PrivateDir, Source};
use crate::vfs::path::VPath;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The rules of mounts below which guests can change something.
fn changeable(sheets: &Sheets, mounts: &[Mount]) -> Vec<RuleId> {
    let only_read = Access::READ_ONLY.and(Access::CONNECT);
    let changes = |effect: Effect| !only_read.has(effect.at_most());
    let files = sheets.all.first().map(|sheet| &sheet.files);
    let rules = files.into_iter().flat_map(|files| files.rules());
    let mut changing: Vec<&[u8]> = rules
        .filter(|rule| changes(rule.effect))
        .map(|rule| rule.pattern.literal())
        .collect();
    // What no rule is about.
    changing.extend(
        files
            .filter(|files| changes(files.default()))
            .map(|_| &b""[..]),
    );
    let reached = |mount: &&Mount| {
        let at = mount.at.as_bytes();
        let at = at.strip_suffix(b"/").unwrap_or(at);
        changing
            .iter()
            .any(|literal| literal.starts_with(at) || at.starts_with(literal))
    };
    let is_walked = |mount: &&Mount| matches!(mount.source, Source::Dir(_));
    mounts
        .iter()
        .filter(is_walked)
        .filter(reached)
        .map(|mount| mount.rule)
        .collect()
}

impl View {
    /// Builds the view that a policy without gaps describes.
    pub fn of_policy(
        sheets: &Arc<Sheets>,
        machine: Identity,
        cwd: Option<&Path>,
        net: Net,
        layers: Option<PathBuf>,
        stores: &mut Stores<'_>,
    ) -> Result<Self, ViewError> {
        let mut planner = Planner::new(sheets);
        planner.checks = false;
        planner.plan();
        let mut b = Builder::new(layers)?;
        let synthetic = b.rule(Access::READ_ONLY, "the view's own directories".into());
        let root = Root::of_policy(sheets);
        // Who the machine is, for whoever may read it.
        let readable = |path: &str| {
            let ruling = sheets.decide(path.as_bytes());
            ruling.effect.granted().has(Access::READ)
        };
        if ["/etc/hostname", "/etc/hosts", "/etc/machine-id"]
            .into_iter()
            .all(readable)
        {
            b.identity(&machine, root.as_ref(), net)?;
        }
        for placed in &planner.placed {
            b.put(placed, sheets, stores)?;
        }
        if net == Net::Host {
            match root {
                None => b.resolver()?,
                Some(_) => b.name_servers()?,
            }
        }
        b.hide_own(&stores.own);
        let start = sheets
            .all
            .first()
            .and_then(|sheet| sheet.view.cwd.as_deref().map(Path::new));
        // In another root it is another directory, if it is there at all.
        let here = std::env::current_dir().ok().filter(|_| root.is_none());
        let visible = |path: &&Path| {
            let ruling = sheets.decide(path.as_os_str().as_bytes());
            ruling.effect.granted().has(Access::LOOK) || ruling.leads
        };
        let cwd = cwd
            .or(start)
            .or(here.as_deref().filter(visible))
            .unwrap_or(Path::new("/"));
        let start = VPath::clean(cwd.as_os_str().as_bytes()).ok_or_else(|| ViewError {
            what: cwd.display().to_string(),
            why: "the working directory must be an absolute path of the view".into(),
        })?;
        let name = sheets.sources.0.first().map_or("", |source| &source.name);
        let network = if net == Net::Host {
            "the host's network"
        } else {
            "no network"
        };
        let summary = format!(
            "policy {name}: {} rules; working directory {start}; {network}",
            sheets.rules.len()
        );
        let changeable = changeable(sheets, &b.mounts);
        let mut view = b.finish(synthetic, machine, start, summary)?;
        let names = Arc::new(Names::new(Arc::clone(sheets)));
        view.vfs.tell_writable(changeable);
        view.vfs.rule_by(Arc::clone(&names));
        view.policy.rule_by(names);
        Ok(view)
    }
}

impl Builder {
    fn put(
        &mut self,
        placed: &Placed,
        sheets: &Sheets,
        stores: &mut Stores<'_>,
    ) -> Result<(), ViewError> {
        let Some(at) = VPath::clean(if placed.at.is_empty() {
            b"/"
        } else {
            &placed.at
        }) else {
            return Ok(());
        };
        if matches!(placed.what, What::Nothing) {
            return Ok(());
        }
        let origin = placed
            .id
            .map_or_else(|| "the policy's default".into(), |id| sheets.tell(id));
        let before = self.mounts.len();
        match &placed.what {
            What::Nothing => {}
            What::Hidden => self.mount(at, Source::Hidden, Access::NONE, origin),
            What::Dev => self.mount(at, Source::Dev, Access::READ_ONLY, origin),
            What::Proc => self.mount(at, Source::Proc, Access::READ_ONLY, origin),
            What::Link(text) => self.mount(
                at,
                Source::Symlink(text[..].into()),
                Access::READ_ONLY,
                origin,
            ),
            What::Host(path) => self.host(at, path, true, origin)?,
            What::Tmpfs(limit) => {
                self.tmpfs += 1;
                let name = CString::new(format!("tmp{}", self.tmpfs)).unwrap_or_default();
                let dir = PrivateDir::new(&self.scratch, &name, 0o1777, *limit);
                self.mount(at, Source::Private(dir), Access::ALL, origin);
            }
            What::Text(text) => self.file(
                Path::new(OsStr::from_bytes(&placed.at)),
                text.as_bytes(),
                &origin,
            )?,
            What::Cow(dir) => {
                let (_, tree) = self.cow_tree(dir, None, &origin, stores)?;
                self.mount(at, Source::Cow(tree), Access::ALL, origin);
            }
        }
        if !matches!(
            placed.what,
            What::Hidden | What::Dev | What::Proc | What::Link(_)
        ) {
            let refusal = match placed.effect {
                Effect::Deny(errno) => Some(errno),
                _ => None,
            };
            for Mount { rule, .. } in self.mounts.iter().skip(before) {
                self.policy.set(*rule, placed.effect.granted(), refusal);
                if let Effect::Ask { asked, .. } = placed.effect {
                    self.policy.ask(*rule, asked);
                }
                let ruling = sheets.decide(&placed.at);
                if let Some(id) = sheets.killer(&ruling) {
                    let grants = placed.effect.granted();
                    let origin = sheets.tell(id);
                    self.policy
                        .kill(*rule, ruling.kills, Rule { grants, origin });
                }
            }
        }
        Ok(())
    }
}
