//! What is left of a policy in an audit: its view, and what nothing opens.

use crate::policy::files::{Effect, FileRule, Files};
use crate::policy::glob::{self, BadPattern, Pattern};
use crate::policy::lang::{Calls, Does, MountRule, RuleInfo, Sheet, Sheets, Stands, Where};
use crate::policy::{Access, RuleId};
use std::path::Path;

/// What an audit lets a program do where no mount says less.
const LIFTED: Access = Access::ALL.without(Access::CONNECT);

/// The same view without the rules of `[files]`, `[exec]` and `[syscalls]`; `[forbid]`, those that kill, `[net]` and
/// `[env]` stay.
///
/// Nothing of it changes the host: directories that the policy binds, and the host's tree, are copy-on-write. Sockets of the
/// host can be connected to only where the policy says so.
pub fn lifted(sheets: &Sheets) -> Result<Sheets, BadPattern> {
    let mut rules = sheets.rules.clone();
    let id = RuleId(u32::try_from(rules.len()).unwrap_or(u32::MAX));
    rules.push(RuleInfo {
        name: "an audit's own rule".into(),
        says: "all but what [forbid] lists".into(),
        at: Where::default(),
        why: None,
        is_default: false,
        arguments: None,
        switch: None,
    });
    let rule = |text: &str, granted: Access| -> Result<FileRule, BadPattern> {
        Ok(FileRule {
            pattern: Pattern::parse(text)?,
            effect: Effect::Grant(granted),
            forbid: false,
            id,
        })
    };
    let mut all = Vec::new();
    for (number, sheet) in sheets.all.iter().enumerate() {
        let mut mounts = Vec::new();
        let mut files = Vec::new();
        if number == 0 {
            mounts = lifted_mounts(sheet, id);
            files.push(rule("/**", LIFTED)?);
            for mount in mounts.iter().filter(|mount| mount.at != "/") {
                let inside = [mount.at.as_bytes(), b"/\x01"].concat();
                let granted = sheets.decide(&inside).effect.granted();
                let granted = match mount.what {
                    Stands::Bind(_, true) | Stands::Text(_) => Access::READ_ONLY,
                    _ if granted.has(Access::CONNECT) => Access::ALL,
                    _ => LIFTED,
                };
                files.push(rule(&format!("{}/**", glob::escape(&mount.at)), granted)?);
            }
        } else {
            // A ceiling has no places of its own to take sockets from.
            files.push(rule("/**", Access::ALL)?);
        }
        files.extend(sheet.files.rules().iter().filter(|r| r.forbid).cloned());
        let stays = |rule: &&crate::policy::lang::CallRule| {
            rule.forbid || matches!(rule.does, Does::Kill | Does::Fake(_))
        };
        all.push(Sheet {
            files: Files::new(files, Effect::Hide),
            exec: Files::new(Vec::new(), Effect::Grant(Access::ALL)),
            mounts,
            view: sheet.view.clone(),
            env: sheet.env.clone(),
            calls: Calls {
                rules: sheet.calls.rules.iter().filter(stays).cloned().collect(),
                default: None,
            },
            net: sheet.net,
            signals: sheet.signals,
            best_effort: sheet.best_effort,
        });
    }
    Ok(Sheets {
        sources: sheets.sources.clone(),
        rules,
        all,
        gaps: Vec::new(),
        switched: std::sync::Arc::default(),
    })
}

fn lifted_mounts(sheet: &Sheet, id: RuleId) -> Vec<MountRule> {
    let mut mounts = sheet.mounts.clone();
    for mount in &mut mounts {
        if let Stands::Bind(path, false) = &mount.what {
            let path = path.clone();
            // A file can't be copy-on-write by itself.
            mount.what = if Path::new(&path).is_dir() {
                Stands::Cow(path)
            } else {
                Stands::Bind(path, true)
            };
        }
    }
    if sheet.view.host_root && !mounts.iter().any(|mount| mount.at == "/") {
        mounts.push(MountRule {
            at: "/".into(),
            what: Stands::Cow("/".into()),
            id,
        });
    }
    mounts
}
