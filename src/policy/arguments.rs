//! With which arguments a program may be started: lists of texts, as `[exec]` has them.

use super::RuleId;
use crate::plain;
use std::fmt;
use std::sync::Arc;

/// Stands at the end of a list for any further arguments.
pub(super) const MORE: &str = "...";

/// How much of a program's arguments must be looked at to tell whether they are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// So many of them; of a longer vector only the first ones are needed.
    pub count: usize,
    /// So many bytes of each.
    pub bytes: usize,
}

impl Reach {
    /// What is enough for both.
    pub fn or(self, other: Self) -> Self {
        Self {
            count: self.count.max(other.count),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// The arguments behind `argv[0]` that a program may be given: those of one of these lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments(pub(super) Vec<List>);

/// The arguments in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) words: Vec<String>,
    /// Others may follow.
    pub(super) more: bool,
}

impl List {
    fn allows<A: AsRef<[u8]>>(&self, given: &[A]) -> bool {
        let enough = match self.more {
            true => given.len() >= self.words.len(),
            false => given.len() == self.words.len(),
        };
        let mut pairs = self.words.iter().zip(given);
        enough && pairs.all(|(word, one)| word.as_bytes() == one.as_ref())
    }
}

impl Arguments {
    /// Whether a program may be given these behind `argv[0]`, byte for byte; of each as much as [`Arguments::reach`] says.
    pub fn allow<A: AsRef<[u8]>>(&self, given: &[A]) -> bool {
        self.0.iter().any(|list| list.allows(given))
    }

    /// How much must be looked at: one more than the longest list and the longest text, to see that there is no more.
    pub fn reach(&self) -> Reach {
        let words = self.0.iter().flat_map(|list| &list.words);
        Reach {
            count: 1 + self.0.iter().map(|l| l.words.len()).max().unwrap_or(0),
            bytes: 1 + words.map(String::len).max().unwrap_or(0),
        }
    }
}

/// As the language writes it.
impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |list: &List| {
            let words = list.words.iter().map(String::as_str);
            let words = words.chain(list.more.then_some(MORE)).map(plain::toml);
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        };
        match &self.0[..] {
            [one] => f.write_str(&list(one)),
            all => write!(
                f,
                "[{}]",
                all.iter().map(list).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

/// A rule about the arguments of a program.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What it allows.
    pub arguments: Arc<Arguments>,
    /// The ruling that holds with any others.
    pub otherwise: RuleId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str], more: bool) -> List {
        List {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            more,
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        let rules = Arguments(vec![
            list(&["--version"], false),
            list(&["log", "-2"], true),
        ]);
        assert_eq!(
            rules.to_string(),
            r#"[["--version"], ["log", "-2", "..."]]"#
        );
        for (given, allowed) in [
            (&["--version"][..], true),
            (&["--version", ""], false),
            (&["--versio"], false),
            (&["--version "], false),
            (&[], false),
            (&["log", "-2"], true),
            (&["log", "-2", "x", "y"], true),
            (&["log"], false),
            (&["log", "-3"], false),
        ] {
            assert_eq!(rules.allow(given), allowed, "{given:?}");
        }
        assert_eq!(
            rules.reach(),
            Reach {
                count: 3,
                bytes: 10
            }
        );
        let none = Arguments(vec![list(&[], false)]);
        assert_eq!(none.to_string(), "[]");
        assert!(none.allow::<&str>(&[]) && !none.allow(&["x"]));
        assert_eq!(none.reach(), Reach { count: 1, bytes: 1 });
    }
}
