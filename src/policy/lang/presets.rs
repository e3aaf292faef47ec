//! The policies that come with sbox.

/// Name and text of each.
const PRESETS: [(&str, &str); 7] = [
    ("std/none", include_str!("../../../policies/none.toml")),
    ("std/cli", include_str!("../../../policies/cli.toml")),
    ("std/python", include_str!("../../../policies/python.toml")),
    (
        "std/compiler",
        include_str!("../../../policies/compiler.toml"),
    ),
    ("std/grader", include_str!("../../../policies/grader.toml")),
    ("std/online", include_str!("../../../policies/online.toml")),
    ("std/agent", include_str!("../../../policies/agent.toml")),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The text of one.
pub fn text(name: &str) -> Option<&'static str> {
    PRESETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}
