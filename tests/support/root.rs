//! Directories with a libc of their own, for `--root`: copies of programs of the host and of what they load. A copy is
//! another file at the same path, so each program there has an interpreter that the kernel would not find.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Skip, need, scratch};

/// Such a directory, with these programs of the host in it.
pub(crate) fn root_of(programs: &[&str]) -> Result<tempfile::TempDir, Skip> {
    let ldd = need(&["/usr/bin/ldd", "/bin/ldd"])?;
    let root = scratch();
    let mut wanted = BTreeSet::new();
    for program in programs {
        wanted.insert(PathBuf::from(need(&[program])?));
        let output = Command::new(&ldd).arg(program).output().expect("ldd");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split_whitespace().filter(|word| word.starts_with('/'));
        wanted.extend(words.map(PathBuf::from));
    }
    for path in wanted {
        copy(&path, root.path());
    }
    Ok(root)
}

/// Copies a file of the host to the same place in a root.
pub(crate) fn copy(path: &Path, root: &Path) {
    let to = root.join(path.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(to.parent().expect("a directory")).expect("mkdir");
    fs::copy(path, to).unwrap_or_else(|e| panic!("copy {}: {e}", path.display()));
}
