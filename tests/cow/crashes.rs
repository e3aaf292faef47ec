//! Killed at any moment, and wanted by many at once.

use crate::cases::{Place, names_in};
use crate::oracle::open;
use crate::support::{Random, Test};
use sbox::vfs::cow::CowDir;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

const FILES: usize = 40;

fn content(n: usize) -> Vec<u8> {
    format!("file {n}\n").into_bytes().repeat(3000)
}

fn c_name(n: usize) -> CString {
    CString::new(format!("f{n}")).unwrap()
}

/// What is killed: copies up, removes, makes anew, as fast as it can.
pub(crate) fn busy(side: &str, lowers: &[PathBuf]) -> ExitCode {
    let cow = open(Path::new(side), lowers);
    let mut random = Random::new();
    println!("ready");
    loop {
        let dir = CString::new(format!("d{}", random.below(3))).unwrap();
        let name = c_name(random.below(FILES as u64) as usize);
        let Ok(d) = cow.root().open_dir(&dir) else {
            let _ = cow.root().mkdir(&dir, 0o555);
            continue;
        };
        let _ = match random.below(8) {
            0..4 => d.copy_up(&name).map(drop),
            4 => d.unlink(&name),
            5 => d.rename(&name, cow.root(), &name, 0),
            6 => cow.root().link(&name, &d, &name),
            _ => {
                for n in 0..FILES {
                    let _ = d.unlink(&c_name(n));
                }
                cow.root().rmdir(&dir)
            }
        };
    }
}

/// Killed at any moment, it leaves whole files and nothing that stands in the way.
pub(crate) fn being_killed_tears_nothing() -> Test {
    let mut random = Random::new();
    for round in 0..12 {
        let place = Place::new();
        for d in 0..3 {
            fs::create_dir(place.lower(&format!("d{d}"))).unwrap();
            for n in 0..FILES {
                fs::write(place.lower(&format!("d{d}/f{n}")), content(n)).unwrap();
            }
        }
        for _ in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .env("SBOX_COW_ROLE", "busy")
                .env("SBOX_COW_SIDE", place.store(""))
                .env("SBOX_COW_LOWERS", place.lower(""))
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut ready = [0; 5];
            child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
            std::thread::sleep(Duration::from_micros(random.below(30_000)));
            child.kill().unwrap();
            child.wait().unwrap();
            let cow = place.open();
            assert_eq!(names_in(&place.store("work")), [""; 0]);
            check_whole(cow.root(), round);
        }
    }
    Ok(())
}

fn check_whole(dir: &Arc<CowDir>, round: u64) {
    for (name, kind) in crate::tree::engine_names(dir).unwrap() {
        if kind == libc::DT_DIR {
            check_whole(&dir.open_dir(&name).unwrap(), round);
            continue;
        }
        let n = name.to_str().unwrap()[1..].parse().unwrap();
        let mut found = vec![];
        let file = dir.open(&name, libc::O_RDONLY, 0).unwrap();
        File::from(file).read_to_end(&mut found).unwrap();
        assert!(
            found == content(n),
            "round {round}: {name:?} has {} bytes",
            found.len()
        );
    }
}

/// Many threads want the same files: each is copied once, and all see that copy.
pub(crate) fn threads_copy_once() -> Test {
    let place = Place::new();
    fs::create_dir_all(place.lower("d/e")).unwrap();
    for n in 0..FILES {
        fs::write(place.lower(&format!("d/e/f{n}")), content(n)).unwrap();
        fs::hard_link(
            place.lower(&format!("d/e/f{n}")),
            place.lower(&format!("g{n}")),
        )
        .unwrap();
    }
    let cow = place.open();
    std::thread::scope(|scope| {
        for at in 0..8 {
            let root = cow.root();
            scope.spawn(move || {
                for n in 0..FILES {
                    let n = (n * 7 + at) % FILES;
                    let e = root.open_dir(c"d").unwrap().open_dir(c"e").unwrap();
                    let (dir, name) = match at % 2 {
                        0 => (e, c_name(n)),
                        _ => (Arc::clone(root), CString::new(format!("g{n}")).unwrap()),
                    };
                    let file = dir.open(&name, libc::O_WRONLY, 0).unwrap();
                    File::from(file)
                        .write_all_at(&[b'0' + at as u8], at as u64)
                        .unwrap();
                }
            });
        }
    });
    for n in 0..FILES {
        let found = fs::read(place.store(&format!("upper/d/e/f{n}"))).unwrap();
        assert_eq!(&found[..8], b"01234567", "no write was lost");
        assert_eq!(found[8..], content(n)[8..]);
        let meta = |path: &str| fs::metadata(place.store(path)).unwrap().ino();
        assert_eq!(
            meta(&format!("upper/d/e/f{n}")),
            meta(&format!("upper/g{n}"))
        );
    }
    Ok(())
}
