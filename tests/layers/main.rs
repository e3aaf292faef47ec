//! Layers as people handle them: `sbox diff`, `commit`, `discard`, `layers`, on changes made through the copy-on-write
//! engine itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod interrupted;
#[path = "../support/steps.rs"]
mod steps;

use sbox::layers::{Kind, Layer, Layers, changes, commit};
use sbox::vfs::cow::{Cow, CowDir, Sync};
use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

/// A source directory and a place for layers.
struct World {
    base: tempfile::TempDir,
    layers: Layers,
}

impl World {
    fn new() -> Self {
        // Many tests at once hold many directories.
        sbox::sys::process::raise_descriptor_limit();
        // As all tests have it: see tests/support.
        let parent = std::env::var_os("SBOX_TEST_TMP");
        let parent = parent.map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        let base = tempfile::tempdir_in(parent).unwrap();
        let source = base.path().join("src");
        fs::create_dir_all(source.join("dir/deep")).unwrap();
        fs::write(source.join("text"), "one\ntwo\nthree\n").unwrap();
        fs::write(source.join("dir/inner"), "inner\n").unwrap();
        fs::write(source.join("dir/deep/er"), "deeper\n").unwrap();
        fs::write(source.join("mode"), "#!/bin/sh\n").unwrap();
        // Whatever the umask is.
        fs::set_permissions(source.join("mode"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(source.join("untouched"), "as it was\n").unwrap();
        symlink("text", source.join("link")).unwrap();
        let layers = Layers::at(base.path().join("state/sbox"));
        Self { base, layers }
    }

    fn source(&self) -> PathBuf {
        self.base.path().join("src")
    }

    fn prepare(&self, name: &str) -> Layer {
        let command = [OsString::from("test")];
        self.layers
            .prepare(Some(name), &self.source(), &command)
            .unwrap()
    }

    /// A command in the source, with these layers.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_STATE_HOME", self.base.path().join("state"))
            .current_dir(self.source());
        command
    }

    /// Runs sbox with these words.
    fn sbox(&self, words: &[&str]) -> Output {
        self.command(&sbox()).args(words).output().unwrap()
    }

    fn says(&self, words: &[&str]) -> String {
        let output = self.sbox(words);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }
}

pub(crate) fn sbox() -> String {
    std::env::var("SBOX_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sbox").into())
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// The layer's tree, to be changed.
fn tree(layer: &Layer) -> Cow {
    let store = open(&layer.dir);
    let source = open(&layer.source);
    Cow::open(std::os::fd::AsFd::as_fd(&store), vec![source], Sync::Never).unwrap()
}

fn write(dir: &Arc<CowDir>, name: &CStr, text: &str) {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    File::from(dir.open(name, flags, 0o644).unwrap())
        .write_all(text.as_bytes())
        .unwrap();
}

/// The source's `dir`, removed with all that is in it, and one of its name in its place.
fn made_anew(root: &Arc<CowDir>) -> Arc<CowDir> {
    let dir = root.open_dir(c"dir").unwrap();
    dir.unlink(c"inner").unwrap();
    dir.open_dir(c"deep").unwrap().unlink(c"er").unwrap();
    dir.rmdir(c"deep").unwrap();
    root.rmdir(c"dir").unwrap();
    root.mkdir(c"dir", 0o755).unwrap();
    root.open_dir(c"dir").unwrap()
}

/// One of each kind.
fn change_everything(layer: &Layer) {
    let cow = tree(layer);
    let root = cow.root();
    write(root, c"text", "one\n2\nthree\n");
    write(root, c"fresh", "new\n");
    root.mkdir(c"made", 0o750).unwrap();
    write(&root.open_dir(c"made").unwrap(), c"leaf", "leaf\n");
    root.chmod(c"mode", 0o755).unwrap();
    root.unlink(c"link").unwrap();
    let dir = root.open_dir(c"dir").unwrap();
    let deep = dir.open_dir(c"deep").unwrap();
    deep.unlink(c"er").unwrap();
    dir.rmdir(c"deep").unwrap();
    // Opened for writing and not changed: copied up, but no change.
    drop(root.open(c"untouched", libc::O_RDWR, 0).unwrap());
}

fn told(layer: &Layer) -> Vec<String> {
    let letter = |kind: &Kind| match kind {
        Kind::Added => "A",
        Kind::Modified => "M",
        Kind::Removed => "D",
        Kind::Replaced => "R",
        Kind::Attributes(_) => "m",
    };
    changes(layer)
        .unwrap()
        .iter()
        .map(|c| {
            let mark = if c.conflict { "!" } else { "" };
            format!("{}{mark} {}", letter(&c.kind), c.path.escape_ascii())
        })
        .collect()
}

const EVERYTHING: [&str; 7] = [
    "D dir/deep",
    "A fresh",
    "D link",
    "A made",
    "A made/leaf",
    "m mode",
    "M text",
];

#[test]
fn changes_are_told_and_committed() {
    let world = World::new();
    let layer = world.prepare("l");
    assert!(told(&layer).is_empty(), "a new layer changes nothing");
    change_everything(&layer);
    assert_eq!(told(&layer), EVERYTHING);
    assert_eq!(
        fs::read_to_string(world.source().join("text")).unwrap(),
        "one\ntwo\nthree\n"
    );

    let text = world.says(&["diff", "l"]);
    for line in [
        "D    deep/",
        "A  fresh  4 B",
        "M  text  14 B -> 12 B",
        "m  mode  mode 0644 -> 0755, time",
    ] {
        let line = line.trim_end_matches(", time");
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let patch = world.says(&["diff", "--patch"]);
    assert!(
        patch.contains("--- a/text\n+++ b/text\n") && patch.contains("-two\n+2\n"),
        "{patch}"
    );
    assert!(
        patch.contains("--- /dev/null\n+++ b/made/leaf\n"),
        "{patch}"
    );
    let json: serde_json::Value = serde_json::from_str(&world.says(&["diff", "--json"])).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), EVERYTHING.len());

    assert!(
        world
            .says(&["commit", "l"])
            .starts_with("committed 7 changes")
    );
    let source = world.source();
    assert_eq!(
        fs::read_to_string(source.join("text")).unwrap(),
        "one\n2\nthree\n"
    );
    assert_eq!(
        fs::read_to_string(source.join("made/leaf")).unwrap(),
        "leaf\n"
    );
    assert_eq!(
        fs::metadata(source.join("made")).unwrap().mode() & 0o7777,
        0o750
    );
    assert_eq!(
        fs::metadata(source.join("mode")).unwrap().mode() & 0o7777,
        0o755
    );
    assert!(fs::symlink_metadata(source.join("link")).is_err());
    assert!(!source.join("dir/deep").exists() && source.join("dir/inner").exists());
    assert!(!layer.dir.exists(), "{:?} is left of it", told(&layer));
    assert_eq!(world.says(&["layers"]), "no layers\n");
}

#[test]
fn what_the_host_changed_is_not_overwritten() {
    let world = World::new();
    let layer = world.prepare("l");
    change_everything(&layer);
    // Times of change are as coarse as the clock's tick.
    std::thread::sleep(Duration::from_millis(30));
    fs::write(world.source().join("text"), "the host's\n").unwrap();
    fs::write(world.source().join("fresh"), "the host's too\n").unwrap();
    fs::write(world.source().join("dir/deep/er"), "deep, too\n").unwrap();
    let all = told(&layer);
    for line in ["M! text", "M! fresh", "D! dir/deep", "A made", "D link"] {
        assert!(all.iter().any(|l| l == line), "{line} is not in {all:?}");
    }
    let refused = world.sbox(&["commit", "l"]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("M text") && why.contains("--force"), "{why}");
    assert_eq!(
        fs::read_to_string(world.source().join("text")).unwrap(),
        "the host's\n"
    );
    assert!(!world.source().join("made").exists(), "nothing was done");

    // Some of it can be had.
    assert!(
        world
            .says(&["commit", "l", "made/leaf"])
            .contains("committed 2 changes")
    );
    assert_eq!(
        fs::read_to_string(world.source().join("made/leaf")).unwrap(),
        "leaf\n"
    );
    assert_eq!(
        world.sbox(&["commit", "l", "/elsewhere"]).status.code(),
        Some(2)
    );
    assert_eq!(world.sbox(&["commit", "l", "../x"]).status.code(), Some(2));

    world.says(&["commit", "--force", "l"]);
    assert_eq!(
        fs::read_to_string(world.source().join("text")).unwrap(),
        "one\n2\nthree\n"
    );
    assert!(!world.source().join("dir/deep").exists());
}

#[test]
fn a_directory_made_anew_hides_what_was_there() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        let root = cow.root();
        let dir = made_anew(root);
        write(&dir, c"only", "only\n");
        root.unlink(c"text").unwrap();
        root.mkdir(c"text", 0o755).unwrap();
    }
    let all = told(&layer);
    for line in ["A dir/only", "D dir/inner", "D dir/deep", "R text"] {
        assert!(all.iter().any(|l| l == line), "{line} is not in {all:?}");
    }
    // Part of it: the hidden names must not come back into the layer's view.
    assert!(world.says(&["commit", "l", "dir/only"]).contains("left:"));
    assert!(
        told(&layer).iter().any(|l| l == "D dir/inner"),
        "{:?}",
        told(&layer)
    );
    world.says(&["commit", "l"]);
    let left: Vec<_> = fs::read_dir(world.source().join("dir"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(world.source().join("text").is_dir());
}

/// In a directory that hides the host's, a committed name that the layer lacks would be one to remove.
#[test]
fn a_directory_committed_below_one_made_anew_stays() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        let root = cow.root();
        let dir = made_anew(root);
        dir.mkdir(c"full", 0o755).unwrap();
        dir.mkdir(c"empty", 0o755).unwrap();
        write(&dir.open_dir(c"full").unwrap(), c"leaf", "leaf\n");
        root.unlink(c"text").unwrap();
    }
    // First a part, so that the layer and its opaque directory stay.
    world.says(&["commit", "l", "dir/full", "dir/empty"]);
    let wrong = |line: &String| line.contains("dir/full") || line.contains("dir/empty");
    assert!(!told(&layer).iter().any(wrong), "{:?}", told(&layer));
    world.says(&["commit", "l"]);
    assert!(world.source().join("dir/full/leaf").exists());
    assert!(world.source().join("dir/empty").exists());
    assert!(!layer.dir.exists(), "{:?}", told(&layer));
}

/// What a guest calls as the layers' own attributes are called is stored under another name.
#[test]
fn attributes_are_committed_under_the_guests_names() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        for name in [c"text", c"dir"] {
            cow.root()
                .set_xattr(name, c"user.overlay.opaque", b"mine", 0)
                .unwrap();
        }
    }
    world.says(&["commit", "l"]);
    for name in ["text", "dir"] {
        let path = CString::new(world.source().join(name).as_os_str().as_encoded_bytes());
        let mut value = [0u8; 8];
        let got = sbox::sys::fs::getxattr(&path.unwrap(), c"user.overlay.opaque", &mut value);
        assert_eq!(
            got.map(|n| value[..n].to_vec()),
            Ok(b"mine".to_vec()),
            "{name}"
        );
    }
}

/// Also where the layer keeps its file, as it hides the host's directory: then the two are equal.
#[test]
fn committed_attributes_are_equal() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        let dir = made_anew(cow.root());
        write(&dir, c"leaf", "leaf");
        dir.set_xattr(c"leaf", c"user.overlay.opaque", b"mine", 0)
            .unwrap();
    }
    world.says(&["commit", "l", "dir/leaf"]);
    assert_eq!(told(&layer), ["D dir/deep", "D dir/inner"]);
}

#[test]
fn rights_are_not_given_by_the_way() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        write(cow.root(), c"tool", "#!/bin/sh\n");
        cow.root().chmod(c"tool", 0o4755).unwrap();
    }
    let refused = world.sbox(&["commit", "l"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("would give rights"));
    assert!(!world.source().join("tool").exists());
    world.says(&["commit", "l", "--force"]);
    assert_eq!(
        fs::metadata(world.source().join("tool")).unwrap().mode() & 0o7777,
        0o4755
    );
}

#[test]
fn other_names_of_a_file_are_not_left_behind() {
    let world = World::new();
    fs::hard_link(world.source().join("text"), world.source().join("second")).unwrap();
    let layer = world.prepare("l");
    write(tree(&layer).root(), c"text", "new\n");
    let refused = world.sbox(&["commit", "l"]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        why.contains("other names") && why.contains("M text"),
        "{why}"
    );
    assert_eq!(
        fs::read_to_string(world.source().join("text")).unwrap(),
        "one\ntwo\nthree\n"
    );
}

#[test]
fn deep_trees_are_walked() {
    let world = World::new();
    let layer = world.prepare("l");
    {
        let cow = tree(&layer);
        let mut at = Arc::clone(cow.root());
        for _ in 0..1500 {
            at.mkdir(c"d", 0o755).unwrap();
            at = at.open_dir(c"d").unwrap();
        }
    }
    assert_eq!(changes(&layer).unwrap().len(), 1500);
    assert_eq!(world.says(&["discard", "l"]), "discarded l\n");
}

#[test]
fn a_patch_is_one_for_patch() {
    let world = World::new();
    let layer = world.prepare("l");
    write(tree(&layer).root(), c"text", "one\rstill one\ntwo\nthree");
    let patch = world.says(&["diff", "--patch"]);
    assert!(
        patch.contains("+one\rstill one\n"),
        "a line ends at its line feed: {patch:?}"
    );
    assert!(patch.contains("\\ No newline at end of file"), "{patch:?}");
}

#[test]
fn a_source_is_where_it_was() {
    let world = World::new();
    let layer = world.prepare("l");
    write(tree(&layer).root(), c"text", "new\n");
    let elsewhere = world.base.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(world.source(), world.base.path().join("moved")).unwrap();
    symlink(&elsewhere, world.source()).unwrap();
    let claim = layer.claim().unwrap();
    assert!(commit(&layer, &claim, &[], true).is_err());
    assert!(fs::read_dir(&elsewhere).unwrap().next().is_none());
}

#[test]
fn links_in_either_tree_lead_nowhere() {
    let world = World::new();
    let layer = world.prepare("l");
    let outside = world.base.path().join("outside");
    fs::create_dir(&outside).unwrap();
    {
        let cow = tree(&layer);
        let root = cow.root();
        root.mkdir(c"made", 0o755).unwrap();
        write(&root.open_dir(c"made").unwrap(), c"leaf", "leaf\n");
        root.symlink(c"/etc/passwd", c"fresh").unwrap();
    }
    // The host puts a link where the layer has a directory.
    symlink(&outside, world.source().join("made")).unwrap();
    let all = told(&layer);
    assert!(
        all.iter()
            .any(|l| l.starts_with("R") && l.ends_with(" made")),
        "{all:?}"
    );
    world.says(&["commit", "--force", "l"]);
    assert!(
        fs::read_dir(&outside).unwrap().next().is_none(),
        "nothing was written through it"
    );
    assert_eq!(
        fs::read_to_string(world.source().join("made/leaf")).unwrap(),
        "leaf\n"
    );
    assert_eq!(
        fs::read_link(world.source().join("fresh")).unwrap(),
        Path::new("/etc/passwd")
    );
}

#[test]
fn layers_are_listed_found_and_dropped() {
    let world = World::new();
    let (a, b) = (world.prepare("a"), world.prepare("b"));
    change_everything(&b);
    let other = world.layers.prepare(None, Path::new("/usr"), &[]).unwrap();
    assert!(other.name.starts_with("usr-"), "{}", other.name);
    let again = world.layers.prepare(None, Path::new("/usr"), &[]).unwrap();
    assert_ne!(other.name, again.name);
    let wrong = world
        .layers
        .prepare(Some("a"), Path::new("/usr"), &[])
        .unwrap_err();
    assert!(wrong.to_string().contains("holds changes of"), "{wrong}");

    let list = world.says(&["layers"]);
    assert!(
        list.contains("SOURCE") && list.lines().count() == 5,
        "{list}"
    );
    let json: serde_json::Value = serde_json::from_str(&world.says(&["layers", "--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 4);

    let used = tree(&b);
    assert!(world.says(&["layers"]).contains("(in use)"));
    for words in [&["discard", "b"][..], &["commit", "b"]] {
        let refused = world.sbox(words);
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("in use"));
    }
    drop(used);
    // Without changes, not in use.
    assert!(
        world
            .says(&["layers", "--prune", "9"])
            .starts_with("dropped 3 layers")
    );
    assert!(!a.dir.exists() && b.dir.exists());
    // What a guest made unreadable goes, too.
    {
        let cow = tree(&b);
        cow.root().mkdir(c"locked", 0o755).unwrap();
        let locked = cow.root().open_dir(c"locked").unwrap();
        write(&locked, c"file", "x");
        cow.root().chmod(c"locked", 0o000).unwrap();
    }
    assert_eq!(world.says(&["discard", "b"]), "discarded b\n");
    assert!(!b.dir.exists());
}

#[test]
fn what_makes_no_sense_is_refused_clearly() {
    let world = World::new();
    for (words, status, text) in [
        (&["diff"][..], 125, "there are no layers"),
        (&["diff", "nosuch"], 125, "no layer 'nosuch'"),
        (
            &["discard", "../../etc"],
            125,
            "can't be the name of a layer",
        ),
        (&["commit", "nosuch", "x"], 125, "no layer 'nosuch'"),
        (&["layers", "--prune", "x"], 2, "invalid value"),
        (&["diff", "--json", "--patch"], 2, "cannot be used with"),
    ] {
        let output = world.sbox(words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {error}");
        assert!(error.contains(text), "{words:?}: {error}");
    }
    let layer = world.prepare("bad");
    fs::write(layer.dir.join("about.json"), "{\"version\": 9").unwrap();
    let output = world.sbox(&["diff", "bad"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("about.json"));
    assert!(String::from_utf8_lossy(&world.sbox(&["layers"]).stderr).contains("warning"));
    let locked = fs::metadata(world.base.path().join("state/sbox/layers")).unwrap();
    assert_eq!(
        locked.permissions().mode() & 0o7777,
        0o700,
        "layers are nobody else's business"
    );
}
