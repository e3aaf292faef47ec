//! Several files: `extends` builds on others, `within` names ceilings.

use super::fault::{Fault, Source, Sources, Where};
use super::presets;
use super::read::{Raw, Setting, read};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads a file of the user's.
pub type Reader<'r> = &'r dyn Fn(&Path) -> Result<String, String>;

/// A file with all that it extends.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// The settings that hold, by section and key.
    pub settings: BTreeMap<(&'static str, String), Setting>,
    /// `[forbid]`, which only adds.
    pub forbid: Vec<Setting>,
    /// The ceilings, in no order that matters.
    pub within: Vec<Merged>,
    /// The file itself.
    pub top: Where,
}

/// Files of one policy may be so many, so deep.
const MOST_FILES: usize = 64;

/// What reading needs, and what has been read.
pub struct Loader<'r> {
    /// Reads files.
    pub read: Reader<'r>,
    /// What has been read.
    pub sources: Sources,
}

impl Loader<'_> {
    /// Reads `name` and all that it names. `from`: who names it.
    pub fn load(
        &mut self,
        name: &str,
        from: Option<Where>,
        above: &mut Vec<String>,
    ) -> Result<Merged, Vec<Fault>> {
        let fail = |what: String| Fault {
            at: from,
            what,
            hint: None,
        };
        let full = self.sources.path_of(name, from);
        if above.contains(&full) {
            return Err(vec![fail(format!(
                "{full} extends itself, by way of {}",
                above.join(", ")
            ))]);
        }
        if self.sources.0.len() >= MOST_FILES {
            return Err(vec![fail(format!(
                "this policy is made of more than {MOST_FILES} files"
            ))]);
        }
        let text = if full.starts_with("std/") {
            match presets::text(&full) {
                Some(text) => text.to_owned(),
                None => {
                    return Err(vec![
                        fail(format!("there is no preset {full}")).nearest(&full, presets::names()),
                    ]);
                }
            }
        } else {
            (self.read)(Path::new(&full)).map_err(|why| vec![fail(format!("{full}: {why}"))])?
        };
        let file = u32::try_from(self.sources.0.len()).unwrap_or(u32::MAX);
        let settings = read(&text, file);
        self.sources.0.push(Source::new(full.clone(), text));
        above.push(full);
        let merged = self.merge(settings?, file, above);
        above.pop();
        merged
    }

    /// All policies that a policy comes to by the switches of `[exec]`, each once, by its full name.
    pub fn switched(&mut self, merged: &Merged) -> Result<Vec<(String, Merged)>, Vec<Fault>> {
        let mut waiting = merged.switches();
        let mut all: Vec<(String, Merged)> = Vec::new();
        while let Some((name, at)) = waiting.pop() {
            let full = self.sources.path_of(&name, Some(at));
            if all.iter().any(|(known, _)| *known == full) {
                continue;
            }
            // No more of them than files, so each has a number that a set can hold.
            let one = self.load(&name, Some(at), &mut Vec::new())?;
            waiting.extend(one.switches());
            all.push((full, one));
        }
        Ok(all)
    }

    fn merge(
        &mut self,
        own: Vec<Setting>,
        file: u32,
        above: &mut Vec<String>,
    ) -> Result<Merged, Vec<Fault>> {
        let top = Where {
            file,
            start: 0,
            end: 0,
        };
        let mut merged = Merged {
            top,
            ..Merged::default()
        };
        version(&own, top).map_err(|fault| vec![fault])?;
        let mut clashes: BTreeMap<(&'static str, String), (Where, Where)> = BTreeMap::new();
        let named = |key: &str| own.iter().find(|s| s.section.is_empty() && s.key == key);
        if let Some(extends) = named("extends") {
            for (name, at) in extends.texts().map_err(|fault| vec![fault])? {
                let parent = self.load(name, Some(at), above)?;
                for (key, theirs) in parent.settings {
                    if let Some(other) = merged.settings.get(&key)
                        && !same(&other.value, &theirs.value)
                    {
                        clashes.insert(key.clone(), (other.at, theirs.at));
                    }
                    merged.settings.insert(key, theirs);
                }
                merged.forbid.extend(parent.forbid);
                merged.within.extend(parent.within);
            }
        }
        if let Some(within) = named("within") {
            for (name, at) in within.texts().map_err(|fault| vec![fault])? {
                merged.within.push(self.load(name, Some(at), above)?);
            }
        }
        let mut added = Vec::with_capacity(own.len());
        for setting in own {
            let key = (setting.section, setting.key.clone());
            if !clashes.is_empty() {
                clashes.remove(&key);
            }
            match (&setting.value, setting.section) {
                (_, "forbid") => merged.forbid.push(setting),
                (Raw::Text(word), section)
                    if word == "unset" && !section.is_empty() && section != "vars" =>
                {
                    if merged.settings.remove(&key).is_none() {
                        let what = format!("there is no {section}.\"{}\" to unset", setting.key);
                        let known = merged
                            .settings
                            .keys()
                            .filter(|(s, _)| *s == section)
                            .map(|(_, k)| k.as_str());
                        return Err(vec![
                            Fault::at(setting.at, what).nearest(&setting.key, known),
                        ]);
                    }
                }
                _ => added.push((key, setting)),
            }
        }
        // A file has each key once, so the order is no matter: all at once is cheaper than one by one, and the few go to the many.
        let mut added: BTreeMap<_, _> = added.into_iter().collect();
        if added.len() < merged.settings.len() {
            merged.settings.extend(added);
        } else {
            for (key, inherited) in std::mem::take(&mut merged.settings) {
                added.entry(key).or_insert(inherited);
            }
            merged.settings = added;
        }
        // What is said of the file itself has no heirs.
        clashes.retain(|(section, _), _| !section.is_empty());
        let faults: Vec<Fault> = clashes
            .into_iter()
            .map(|((section, key), (a, b))| {
                let what = format!(
                    "{section}.\"{key}\" comes with two values, from {} and {}",
                    self.sources.place(a),
                    self.sources.place(b)
                );
                Fault::at(b, what).hint("say in the file that extends both which one is meant")
            })
            .collect();
        if faults.is_empty() {
            Ok(merged)
        } else {
            Err(faults)
        }
    }
}

impl Merged {
    /// The policies that `[exec]` switches to, its ceilings' too: their names, and where those stand.
    fn switches(&self) -> Vec<(String, Where)> {
        let rules = self.settings.values().filter(|s| s.section == "exec");
        let parts = rules.filter_map(|rule| match &rule.value {
            Raw::Table(parts) => parts.iter().find(|part| part.key == "policy"),
            _ => None,
        });
        let own = parts.filter_map(|part| Some((part.text().ok()?.to_owned(), part.value_at)));
        own.chain(self.within.iter().flat_map(Self::switches))
            .collect()
    }
}

/// The same value, wherever it stands.
fn same(a: &Raw, b: &Raw) -> bool {
    match (a, b) {
        (Raw::List(a), Raw::List(b)) | (Raw::Table(a), Raw::Table(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.key == b.key && same(&a.value, &b.value))
        }
        (a, b) => a == b,
    }
}

fn version(own: &[Setting], top: Where) -> Result<(), Fault> {
    let Some(setting) = own.iter().find(|s| s.section.is_empty() && s.key == "sbox") else {
        return Err(Fault::at(
            top,
            "this is no policy: it does not say which version of the language it is in",
        )
        .hint("write 'sbox = 1' first"));
    };
    match &setting.value {
        Raw::Number(1) => Ok(()),
        Raw::Number(other) => Err(Fault::at(
            setting.value_at,
            format!("version {other} of the language is not known here"),
        )
        .hint("this sbox knows version 1")),
        _ => Err(Fault::at(setting.value_at, "the version is a number").hint("write 'sbox = 1'")),
    }
}
