//! Paths of the guest's world, as bytes: absolute, without `.`, `..`, `//` or a trailing slash.

use std::fmt;
use std::sync::Arc;

/// A canonical path in the guest's view. Never a host path: that is [`HostPath`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VPath(Arc<[u8]>);

impl VPath {
    /// `/`.
    pub fn root() -> Self {
        Self(Arc::from(&b"/"[..]))
    }

    /// Cleans `text` lexically; `None` when it is relative. For paths written by the user of
    /// sbox (flags, defaults), never for what a guest asks: `..` of a guest is walked.
    pub fn clean(text: &[u8]) -> Option<Self> {
        if text.first() != Some(&b'/') {
            return None;
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in components(text) {
            match part {
                b"." => {}
                b".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        Some(
            parts
                .iter()
                .fold(Self::root(), |path, part| path.join(part)),
        )
    }

    /// The path of child `name`.
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        if self.0.len() > 1 {
            bytes.extend_from_slice(&self.0);
        }
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// The bytes, beginning with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path below the root, without the leading slash; empty for the root.
    pub fn below_root(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// The text of the parent below the root, and the last name; `None` for the root.
    pub fn split_last(&self) -> Option<(&[u8], &[u8])> {
        let text = self.below_root();
        if text.is_empty() {
            return None;
        }
        match text.iter().rposition(|&b| b == b'/') {
            Some(at) => Some((text.get(..at)?, text.get(at + 1..)?)),
            None => Some((b"", text)),
        }
    }

    /// What is left of `self` below `prefix`, without a leading slash; `None` if it lies elsewhere.
    pub fn below(&self, prefix: &Self) -> Option<&[u8]> {
        strip_prefix(&self.0, &prefix.0)
    }
}

impl fmt::Display for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VPath({self})")
    }
}

/// An absolute path on the host, as the kernel reports it in `/proc/self/fd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath(pub Box<[u8]>);

/// The names in `text`, without empty ones.
pub fn components(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

/// `text` below directory `prefix` (both absolute and clean), without a leading slash.
pub fn strip_prefix<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    if prefix == b"/" {
        return text.get(1..);
    }
    let rest = text.strip_prefix(prefix)?;
    match rest.first() {
        None => Some(rest),
        Some(b'/') => rest.get(1..),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_is_lexical_and_stays_below_the_root() {
        for (text, want) in [
            ("/", Some("/")),
            ("//usr//lib/", Some("/usr/lib")),
            ("/usr/./lib/..", Some("/usr")),
            ("/../..", Some("/")),
            ("usr", None),
            ("", None),
        ] {
            let got = VPath::clean(text.as_bytes()).map(|p| p.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        assert_eq!(strip_prefix(b"/usr/lib", b"/usr"), Some(&b"lib"[..]));
        assert_eq!(strip_prefix(b"/usr", b"/usr"), Some(&b""[..]));
        assert_eq!(strip_prefix(b"/usrlocal", b"/usr"), None);
        assert_eq!(strip_prefix(b"/usr", b"/"), Some(&b"usr"[..]));
    }

    #[test]
    fn splitting_gives_parent_and_name() {
        let path = VPath::clean(b"/a/b/c").unwrap();
        assert_eq!(path.split_last(), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(VPath::root().split_last(), None);
        assert_eq!(
            VPath::root().join(b"x").split_last(),
            Some((&b""[..], &b"x"[..]))
        );
    }
}
