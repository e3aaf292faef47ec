//! JSON whose values know where they stand.
//!
//! serde_json gives a value its text (`RawValue`), borrowed from all of it: where that lies in memory says where it stands.

use crate::policy::lang::{Fault, Where};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The text of a file.
pub(super) struct Json<'t> {
    text: &'t str,
}

/// The members of an object, in order.
pub(super) struct Object<'t>(pub(super) Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Object<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object in braces")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Members).map(Object)
    }
}

impl<'t> Json<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text }
    }

    /// All of it.
    pub(super) fn whole(&self) -> Result<&'t RawValue, Fault> {
        serde_json::from_str(self.text).map_err(|error| self.fault(&error, 0))
    }

    /// Where a value stands.
    pub(super) fn at(&self, raw: &RawValue) -> Where {
        let start = self.offset(raw.get());
        Where::of(0, Some(start..start + raw.get().len()))
    }

    fn offset(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    /// An error of the reader's in a part of the text that begins at `from`.
    fn fault(&self, error: &serde_json::Error, from: usize) -> Fault {
        let part = self.text.get(from..).unwrap_or_default();
        let lines = part.split_inclusive('\n');
        let before: usize = lines
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let start = from + before + error.column().saturating_sub(1);
        let what = error.to_string();
        // The place is said in front of it, in the words of all messages.
        let what = what.split(" at line ").next().unwrap_or_default();
        Fault::at(Where::of(0, Some(start..start + 1)), what.to_owned())
    }

    /// A value of some type.
    pub(super) fn value<T: DeserializeOwned>(
        &self,
        raw: &RawValue,
        wanted: &str,
    ) -> Result<T, Fault> {
        serde_json::from_str(raw.get())
            .map_err(|_| Fault::at(self.at(raw), format!("this wants {wanted}")))
    }

    /// A list.
    pub(super) fn list(&self, raw: &'t RawValue) -> Result<Vec<&'t RawValue>, Fault> {
        let list: Result<Option<Vec<&RawValue>>, _> = serde_json::from_str(raw.get());
        list.map(Option::unwrap_or_default)
            .map_err(|_| Fault::at(self.at(raw), "this wants a list in brackets"))
    }

    /// An object with these members and no others, none of them twice.
    pub(super) fn object(&self, raw: &'t RawValue, known: &[&str]) -> Result<Object<'t>, Fault> {
        let object = self.any_object(raw)?;
        for (key, value) in &object.0 {
            if !known.contains(&key.as_str()) {
                let what = format!("unknown key '{key}': nobody knows what it would refuse");
                let fault = Fault::at(self.at(value), what);
                return Err(fault.nearest(key, known.iter().copied()));
            }
        }
        Ok(object)
    }

    /// An object whose other members are about something else.
    pub(super) fn any_object(&self, raw: &'t RawValue) -> Result<Object<'t>, Fault> {
        let object: Object<'t> = serde_json::from_str(raw.get())
            .map_err(|_| Fault::at(self.at(raw), "this wants an object in braces"))?;
        let mut seen = std::collections::BTreeSet::new();
        for (key, value) in &object.0 {
            if !seen.insert(key) {
                let what = format!("the key '{key}' stands here twice");
                return Err(Fault::at(self.at(value), what).hint("keep one of them"));
            }
        }
        Ok(object)
    }
}

impl<'t> Object<'t> {
    /// A member; `null` is none.
    pub(super) fn get(&self, key: &str) -> Option<&'t RawValue> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }
}
