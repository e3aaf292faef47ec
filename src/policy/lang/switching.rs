//! A policy with all that it may switch to (`[exec]`, `policy`): what holds for a process within some of them.
//!
//! `run` and `explain --after` ask here, so what one tells is what the other does. All is read once, at the start: what
//! becomes of the files meanwhile is no matter.

use super::check;
use super::fault::{Fault, Sources};
use super::merge::{Loader, Merged, Reader};
use super::vars::World;
use super::{Sheets, Words};
use crate::policy::within::Within;
use std::borrow::Cow;
use std::sync::Arc;

/// A policy that has been read, with those that it switches to.
#[derive(Debug)]
pub struct Switching {
    merged: Merged,
    names: Arc<[String]>,
    switched: Vec<Merged>,
    sources: Sources,
    world: World,
    words: Words,
}

impl Switching {
    /// Reads a policy, as [`Sheets::load`] does. What is wrong with one of those that it switches to is wrong from the start.
    pub fn load(
        name: &str,
        ceilings: &[String],
        world: World,
        words: Words,
        read: Reader<'_>,
    ) -> Result<Self, (Vec<Fault>, Sources)> {
        let mut loader = Loader {
            read,
            sources: Sources::default(),
        };
        let mut all = || {
            let mut merged = loader.load(name, None, &mut Vec::new())?;
            for name in ceilings {
                let ceiling = loader.load(name, None, &mut Vec::new())?;
                merged.within.push(ceiling);
            }
            let switched = loader.switched(&merged)?;
            Ok((merged, switched))
        };
        let (merged, switched) = match all() {
            Ok(all) => all,
            Err(faults) => return Err((faults, loader.sources)),
        };
        let (names, switched): (Vec<String>, Vec<Merged>) = switched.into_iter().unzip();
        let switching = Self {
            merged,
            names: names.into(),
            switched,
            sources: loader.sources,
            world,
            words,
        };
        if !switching.names.is_empty() {
            let all = (0..switching.names.len()).map(Within::one);
            switching.sheets(all.fold(Within::NONE, Within::and))?;
        }
        Ok(switching)
    }

    /// The policies that it may switch to, by their full names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What holds within some of them: what it says, and they as further ceilings, in the order of their numbers.
    pub fn sheets(&self, within: Within) -> Result<Sheets, (Vec<Fault>, Sources)> {
        let whole = match within.is_none() {
            true => Cow::Borrowed(&self.merged),
            false => {
                let mut whole = self.merged.clone();
                let chosen = within.each().map(|(number, _)| self.switched.get(number));
                // The last one is looked at first: so the rules of the run keep their numbers.
                let mut ceilings: Vec<Merged> = chosen.flatten().cloned().collect();
                ceilings.reverse();
                whole.within.splice(0..0, ceilings);
                Cow::Owned(whole)
            }
        };
        let sources = self.sources.clone();
        let mut sheets = check::check(&whole, &self.world, &self.words, sources)?;
        sheets.switched = Arc::clone(&self.names);
        Ok(sheets)
    }
}
