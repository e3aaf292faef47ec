//! Places of the view that a flag's path means.

use super::ViewError;
use crate::vfs::mount::HostObject;
use crate::vfs::path::VPath;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a flag's path lies in the view: at the name given and, if that leads through symbolic links of
/// the host, at the place they lead to. A rule for only one of the two would not hold at the other.
pub(super) fn places(path: &Path, origin: &str) -> Result<Vec<VPath>, ViewError> {
    let own = absolute(path, origin)?;
    if is_real(&own) {
        return Ok(vec![own]);
    }
    let mut all = names(path, origin)?;
    // What is shown is what a link leads to: that has a name of its own, too.
    if let Ok(other) = fs::canonicalize(std::path::absolute(path).unwrap_or_else(|_| path.into())) {
        add(&mut all, &other);
    }
    Ok(all)
}

/// The same for a name that is replaced, link or not: what it leads to is not meant.
pub(super) fn names(path: &Path, origin: &str) -> Result<Vec<VPath>, ViewError> {
    let mut all = vec![absolute(path, origin)?];
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What is above the last name is where it is.
    let parent = full.parent().and_then(|p| fs::canonicalize(p).ok());
    if let Some((parent, name)) = parent.zip(full.file_name()) {
        add(&mut all, &parent.join(name));
    }
    Ok(all)
}

/// True if no symbolic link leads there.
fn is_real(path: &VPath) -> bool {
    CString::new(path.as_bytes())
        .is_ok_and(|path| matches!(HostObject::open_real(&path), Ok(Some(_))))
}

fn add(all: &mut Vec<VPath>, other: &Path) {
    match VPath::clean(other.as_os_str().as_bytes()) {
        Some(other) if !all.contains(&other) => all.push(other),
        _ => {}
    }
}

/// A flag's path in the view: relative ones start from the working directory.
pub(super) fn absolute(path: &Path, origin: &str) -> Result<VPath, ViewError> {
    let fail = |why: String| ViewError {
        what: origin.to_owned(),
        why,
    };
    let full = std::path::absolute(path).map_err(|e| fail(e.to_string()))?;
    VPath::clean(full.as_os_str().as_bytes()).ok_or_else(|| fail("not a path".into()))
}
