//! Has anything in a directory changed? Every change of content or metadata moves a file's ctime.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One line per file below `root`: name, type and mode, links, size, times, and the content of small files.
pub(crate) fn snapshot(root: &Path) -> Vec<String> {
    let mut lines = vec![];
    walk(root, &mut lines);
    lines.sort();
    lines
}

fn walk(path: &Path, lines: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let content = if meta.is_file() && meta.len() < 4096 {
        fs::read(path).expect("read")
    } else {
        vec![]
    };
    lines.push(format!(
        "{} ino {} mode {:o} links {} size {} mtime {}.{} ctime {}.{} {:?}",
        path.display(),
        meta.ino(),
        meta.mode(),
        meta.nlink(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        String::from_utf8_lossy(&content)
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(path).expect("read_dir") {
            walk(&entry.expect("entry").path(), lines);
        }
    }
}

/// Fails with the lines that differ.
pub(crate) fn assert_unchanged(before: &[String], root: &Path) {
    let after = snapshot(root);
    let gone: Vec<_> = before.iter().filter(|l| !after.contains(l)).collect();
    let new: Vec<_> = after.iter().filter(|l| !before.contains(l)).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the host's files changed:\nbefore {gone:#?}\nafter {new:#?}"
    );
}
