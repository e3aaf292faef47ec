//! Any bytes as the text of a policy: it is read or refused, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sbox::policy::lang::{Sheets, World, tidy};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let world = World {
        own: vec![
            ("cwd", "/w".into()),
            ("home", "/h".into()),
            ("tmp", "/tmp".into()),
        ],
        ..World::default()
    };
    let read = |_: &std::path::Path| Ok(text.clone());
    match Sheets::load("p.toml", &[], &world, &sbox::cli::policy::words(), &read) {
        Ok(sheets) => {
            for path in ["/", "/w/a", "/usr/bin/env"] {
                let _ = sheets.decide(path.as_bytes());
            }
        }
        Err((faults, sources)) => {
            for fault in faults {
                let _ = fault.show(&sources);
            }
        }
    }
    let _ = tidy(&text);
});
