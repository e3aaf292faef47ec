//! Any text is a policy or is none, and nothing panics: random bytes, and policies with something changed in them.
//! `fuzz/` has the same for cargo-fuzz.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

use sbox::policy::lang::{Sheets, World, tidy};
use std::fs;
use std::path::Path;

/// A small stream of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// What is read, told and rewritten without a panic. True if it is a policy.
fn look_at(text: &str) -> bool {
    let world = World {
        own: vec![
            ("cwd", "/w".into()),
            ("home", "/h".into()),
            ("tmp", "/tmp".into()),
        ],
        ..World::default()
    };
    let read = |_: &Path| Ok(text.to_owned());
    let _ = tidy(text);
    match Sheets::load("p.toml", &[], &world, &sbox::cli::policy::words(), &read) {
        Ok(sheets) => {
            for path in ["/", "/w/a", "/usr/bin/env", "/\u{1}"] {
                let ruling = sheets.decide(path.as_bytes());
                for id in ruling.because {
                    sheets.tell(id);
                }
            }
            true
        }
        Err((faults, sources)) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(!fault.show(&sources).is_empty());
            }
            false
        }
    }
}

/// Policies of the project, broken ones included.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    for dir in ["policies", "testdata/policies/broken"] {
        for entry in fs::read_dir(root.join(dir)).expect("read_dir") {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|e| e == "toml") {
                all.push(fs::read(path).expect("read"));
            }
        }
    }
    // read_dir(3) has no order, and a failure must come again.
    all.sort();
    all
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(0x5b0c_5b0c_5b0c);
    for _ in 0..4000 {
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        assert!(!look_at(&String::from_utf8_lossy(&bytes)));
    }
}

/// How much changed text is looked at.
const BYTES: usize = 10_000_000;

#[test]
fn changed_policies_are_read_or_refused() {
    let corpus = corpus();
    assert!(corpus.len() > 60);
    let mut random = Random(0x0dd5_eed5);
    let words: [&[u8]; 24] = [
        b"\"",
        b"[files]",
        b"[syscalls]\n",
        b"**",
        b"{",
        b"}",
        b"${cwd}",
        b"${",
        b" = ",
        b"\\",
        b"[[",
        b"(",
        b")",
        b"|",
        b"&&",
        b"!",
        b"-1",
        b"0xffffffffffffffffffffffffffffffffff",
        b"\0",
        b"\xff",
        b"/**",
        b"[a-",
        b"unset",
        b"999999999999999999999",
    ];
    let (mut read, mut bytes, mut round) = (0, 0, 0);
    while bytes < BYTES {
        let mut text = corpus[round % corpus.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() + 1);
            match random.below(4) {
                0 => drop(text.splice(at..at, words[random.below(words.len())].iter().copied())),
                1 => text.truncate(at.max(8)),
                2 => {
                    let other = &corpus[random.below(corpus.len())];
                    let from = random.below(other.len());
                    text.splice(at..at, other[from..].iter().copied());
                }
                _ if at < text.len() => text[at] = random.below(256) as u8,
                _ => {}
            }
        }
        bytes += text.len();
        round += 1;
        read += u32::from(look_at(&String::from_utf8_lossy(&text)));
    }
    assert!(
        read > 50,
        "all changes have broken the policy, so little was looked at: {read}"
    );
}
