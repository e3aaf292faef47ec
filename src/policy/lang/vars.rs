//! Variables: `${cwd}`, those of `[vars]`, and what they stand for.

use super::fault::{Fault, Sources, Where};
use super::merge::Merged;
use super::read::{Raw, Setting};
use crate::policy::glob;
use std::collections::BTreeMap;
use std::path::Path;

/// Variables that every policy has.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// `cwd`, `home`, `tmp`, `user`, `uid`, by name.
    pub own: Vec<(&'static str, String)>,
    /// `--set NAME=VALUE`, for names that `[vars]` declares.
    pub set: Vec<(String, String)>,
    /// The environment, for `{ env = "NAME" }`.
    pub env: Vec<(String, String)>,
}

/// What the variables of one policy stand for.
#[derive(Debug)]
pub(super) struct Vars<'s> {
    values: BTreeMap<String, Vec<String>>,
    sources: &'s Sources,
}

impl<'s> Vars<'s> {
    /// Those of a merged policy.
    pub(super) fn of(
        merged: &Merged,
        world: &World,
        sources: &'s Sources,
    ) -> Result<Self, Vec<Fault>> {
        let own = world
            .own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![value.clone()]));
        let mut vars = Self {
            values: own.collect(),
            sources,
        };
        let mut faults = Vec::new();
        let declared = merged.settings.values().filter(|s| s.section == "vars");
        for setting in declared {
            let given = world
                .set
                .iter()
                .rev()
                .find(|(name, _)| *name == setting.key);
            let value = match given {
                Some((_, value)) => Ok(vec![value.clone()]),
                None => vars.declared(setting, world),
            };
            let reserved =
                world.own.iter().any(|(name, _)| *name == setting.key) || setting.key == "policy";
            match value {
                _ if reserved => faults.push(Fault::at(
                    setting.at,
                    format!("${{{}}} is a variable of every policy", setting.key),
                )),
                Ok(value) => {
                    vars.values.insert(setting.key.clone(), value);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(vars)
        } else {
            Err(faults)
        }
    }

    fn declared(&self, setting: &Setting, world: &World) -> Result<Vec<String>, Fault> {
        let Raw::Table(parts) = &setting.value else {
            let texts = setting.texts()?;
            let mut all = Vec::new();
            for (text, at) in texts {
                // Variables of [vars] are made of those that every policy has, so their order doesn't matter.
                let own = Self {
                    values: world
                        .own
                        .iter()
                        .map(|(n, v)| ((*n).to_owned(), vec![v.clone()]))
                        .collect(),
                    sources: self.sources,
                };
                all.extend(own.expand(text, at, false)?);
            }
            return match all.iter().any(String::is_empty) || all.is_empty() {
                true => Err(Fault::at(
                    setting.value_at,
                    format!("${{{}}} would be empty", setting.key),
                )),
                false => Ok(all),
            };
        };
        for part in parts {
            if !["env", "default"].contains(&part.key.as_str()) {
                return Err(Fault::at(
                    part.at,
                    format!("unknown key '{}' of a variable", part.key),
                )
                .nearest(&part.key, ["env", "default"]));
            }
        }
        let part = |name: &str| {
            parts
                .iter()
                .find(|part| part.key == name)
                .map(Setting::text)
                .transpose()
        };
        let Some(name) = part("env")? else {
            return Err(
                Fault::at(setting.value_at, "a variable from outside needs 'env'")
                    .hint("{ env = \"NAME\", default = \"…\" }"),
            );
        };
        let found = world
            .env
            .iter()
            .find(|(known, value)| known == name && !value.is_empty());
        match (found, part("default")?) {
            (Some((_, value)), _) => Ok(vec![value.clone()]),
            (None, Some(default)) if !default.is_empty() => Ok(vec![default.to_owned()]),
            _ => Err(Fault::at(
                setting.value_at,
                format!(
                    "${{{}}} is empty: there is no {name} in the environment",
                    setting.key
                ),
            )
            .hint("give it a default, or set it")),
        }
    }

    /// Puts values for names; a list makes several texts. In patterns (`glob`) values stand for themselves.
    pub(super) fn expand(&self, text: &str, at: Where, glob: bool) -> Result<Vec<String>, Fault> {
        let Some(open) = text.find("${") else {
            return Ok(vec![text.to_owned()]);
        };
        let before = text.get(..open).unwrap_or_default();
        let rest = text.get(open + 2..).unwrap_or_default();
        let Some(close) = rest.find('}') else {
            return Err(Fault::at(at, "${ is never closed"));
        };
        let name = rest.get(..close).unwrap_or_default();
        let after = self.expand(rest.get(close + 1..).unwrap_or_default(), at, glob)?;
        let values = if name == "policy" {
            let file = self
                .sources
                .0
                .get(at.file as usize)
                .map(|s| s.name.as_str())
                .unwrap_or_default();
            if file.starts_with("std/") {
                return Err(Fault::at(
                    at,
                    "a preset has no directory: ${policy} means nothing in it",
                ));
            }
            let dir = Path::new(file).parent().filter(|dir| dir.is_absolute());
            let Some(dir) = dir else {
                return Err(Fault::at(
                    at,
                    "the directory of this policy is not known, so ${policy} is empty",
                ));
            };
            vec![dir.to_string_lossy().into_owned()]
        } else {
            match self.values.get(name) {
                Some(values) => values.clone(),
                None => {
                    let known = self.values.keys().map(String::as_str).chain(["policy"]);
                    return Err(
                        Fault::at(at, format!("${{{name}}} is not defined")).nearest(name, known)
                    );
                }
            }
        };
        let mut all = Vec::new();
        for value in values {
            if value.is_empty() {
                return Err(Fault::at(at, format!("${{{name}}} is empty")));
            }
            // The root is the empty text before a slash.
            let value = if value == "/" && glob {
                String::new()
            } else {
                value
            };
            let value = if glob { glob::escape(&value) } else { value };
            all.extend(after.iter().map(|after| format!("{before}{value}{after}")));
        }
        Ok(all)
    }
}
