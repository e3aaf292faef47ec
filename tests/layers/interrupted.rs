//! Commits that are killed, that somebody writes beside, and runs that meet.

use crate::{EVERYTHING, World, change_everything, sbox, steps, told, tree, write};
use sbox::layers::commit;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

#[test]
fn an_interrupted_commit_is_continued() {
    let world = World::new();
    let layer = world.prepare("l");
    change_everything(&layer);
    // Left by a commit that was killed: a half-made file.
    fs::write(layer.dir.join("commit"), ".sbox-commit-1f").unwrap();
    fs::write(world.source().join(".sbox-commit-1f"), "half").unwrap();
    // And a directory that was being removed: its name is gone already.
    let going = world.source().join("dir/.sbox-commit-1f");
    fs::rename(world.source().join("dir/deep"), &going).unwrap();
    let claim = layer.claim().unwrap();
    let some = commit(&layer, &claim, &[Path::new("text")], false).unwrap();
    assert_eq!(some.applied, 1);
    let rest = told(&layer);
    assert!(
        !rest.iter().any(|l| l.ends_with("text")) && rest.len() == EVERYTHING.len() - 2,
        "{rest:?}"
    );
    commit(&layer, &claim, &[], false).unwrap();
    assert_eq!(told(&layer), [""; 0]);
    assert!(!world.source().join(".sbox-commit-1f").exists() && !going.exists());
}

/// Files that happen to be called like what a commit half makes are files like all others.
#[test]
fn only_what_a_commit_made_is_swept_up() {
    let world = World::new();
    let names = [".sbox-commit-l", ".sbox-commit-1f"];
    fs::create_dir(world.source().join(".sbox-commit-2e")).unwrap();
    fs::write(world.source().join(".sbox-commit-2e/host"), "").unwrap();
    {
        let cow = crate::tree(&world.prepare("l"));
        for name in names {
            let name = std::ffi::CString::new(name).unwrap();
            cow.root().mkdir(&name, 0o755).unwrap();
            crate::write(&cow.root().open_dir(&name).unwrap(), c"guest", "text");
        }
        crate::write(cow.root(), c"text", "new\n");
    }
    world.says(&["commit", "l"]);
    for name in names {
        let text = fs::read_to_string(world.source().join(name).join("guest"));
        assert_eq!(text.unwrap(), "text", "{name}");
    }
    assert!(world.source().join(".sbox-commit-2e/host").exists());
    assert!(world.layers.get("l").is_err(), "all was committed");
}

/// The host's tree without what a killed commit leaves, and whether there was something.
fn host_tree(world: &World) -> (Vec<String>, bool) {
    fn walk(dir: &Path, lines: &mut Vec<String>, left: &mut bool) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with(".sbox-commit-") {
                *left = true;
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.is_file() {
                true => fs::read_to_string(&path).unwrap(),
                false => String::new(),
            };
            lines.push(format!("{} {:o} {content:?}", path.display(), meta.mode()));
            if meta.is_dir() {
                walk(&path, lines, left);
            }
        }
    }
    let (mut lines, mut left) = (vec![], false);
    walk(&world.source(), &mut lines, &mut left);
    lines.sort();
    (lines, left)
}

/// A world whose commit was killed at its `step`th call, and whether it was.
fn killed_commit(step: u64) -> (World, bool) {
    let world = World::new();
    change_everything(&world.prepare("l"));
    let words = ["-c", "echo ready; read x; exec \"$0\" commit l", &sbox()];
    let killed = steps::kill_at(world.command("/bin/sh").args(words), step);
    (world, killed)
}

/// Killed at any step (see `steps`), a commit leaves each file old or new, and the next one does the rest.
#[test]
fn a_commit_is_killed_at_every_step() {
    let model = World::new();
    change_everything(&model.prepare("l"));
    let old = host_tree(&model).0;
    model.says(&["commit", "l"]);
    let new = host_tree(&model).0;
    let of_model = |world: &World| -> Vec<String> {
        let (here, there) = (world.base.path(), model.base.path());
        let (here, there) = (here.to_str().unwrap(), there.to_str().unwrap());
        let lines = host_tree(world).0.into_iter();
        lines.map(|line| line.replace(here, there)).collect()
    };
    // Before the first change of the host there is nothing to see.
    let (mut untouched, mut touched) = (0, 5000);
    while touched - untouched > 1 {
        let middle = u64::midpoint(untouched, touched);
        match of_model(&killed_commit(middle).0) == old {
            true => untouched = middle,
            false => touched = middle,
        }
    }
    for step in (touched..).filter(|&step| steps::is_chosen(step)) {
        let (world, killed) = killed_commit(step);
        for line in of_model(&world) {
            // A new directory is its owner's alone until all is in it.
            let filling = line.replace(" 40700 ", " 40750 ");
            assert!(
                [&old, &new]
                    .iter()
                    .any(|tree| tree.contains(&line) || tree.contains(&filling)),
                "killed at call {step}: {line}"
            );
        }
        // The last thing that a commit does is to remove the layer.
        if world.layers.get("l").is_ok() {
            world.says(&["commit", "l"]);
        }
        assert_eq!(of_model(&world), new, "killed at call {step}");
        assert!(!host_tree(&world).1, "killed at call {step}");
        world.prepare("l");
        let layers = fs::read_dir(world.layers.directory()).unwrap().flatten();
        let layers: Vec<_> = layers.map(|entry| entry.file_name()).collect();
        assert_eq!(layers, ["l"], "killed at call {step}");
        if !killed {
            assert!(step - touched > 50, "only {} steps", step - touched);
            break;
        }
    }
}

/// Layers come and go in the same moment, under names made from the time: none takes another's place.
#[test]
fn layers_of_one_moment_keep_apart() {
    let world = World::new();
    let command = [OsString::from("test")];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let layer = world
                        .layers
                        .prepare(None, &world.source(), &command)
                        .unwrap();
                    fs::create_dir(layer.dir.join("work")).unwrap();
                    layer.remove(layer.own()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(world.layers.directory()).unwrap().count(), 0);
}

/// Runs that want one new layer by name: one makes it, the others find it.
#[test]
fn a_layer_is_made_once() {
    let world = World::new();
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.prepare("l").made))
            .collect();
        for maker in makers {
            maker.join().unwrap();
        }
    });
    assert_eq!(fs::read_dir(world.layers.directory()).unwrap().count(), 1);
}

/// Begins to commit layer `l`, whose first change is file `a0`; returns when that is applied.
fn begin_commit(world: &World) -> Child {
    let mut command = world.command(&sbox());
    command.args(["commit", "l"]).stderr(Stdio::piped());
    let mut commit = command.spawn().unwrap();
    while !world.source().join("a0").exists() && commit.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    commit
}

/// The same, and the name of the directory is somebody else's as soon as it is free: under another it stays, whatever is committed later.
#[test]
fn what_cannot_have_its_name_back_is_kept() {
    let mut kept_some = false;
    for _ in 0..40 {
        let world = World::new();
        let gone = world.source().join("zzz");
        fs::create_dir_all(gone.join("sub")).unwrap();
        // It takes a moment to look through.
        for n in 0..2000 {
            fs::write(gone.join(format!("sub/{n}")), "old").unwrap();
        }
        let layer = world.prepare("l");
        let cow = tree(&layer);
        for n in 0..400 {
            write(cow.root(), &CString::new(format!("a{n}")).unwrap(), "new");
        }
        let removed = cow.root().open_dir(c"zzz").unwrap();
        let sub = removed.open_dir(c"sub").unwrap();
        for n in 0..2000 {
            sub.unlink(&CString::new(n.to_string()).unwrap()).unwrap();
        }
        removed.rmdir(c"sub").unwrap();
        cow.root().rmdir(c"zzz").unwrap();
        drop((sub, removed, cow, layer));
        std::thread::sleep(Duration::from_millis(30));
        let mut commit = begin_commit(&world);
        let written = fs::write(gone.join("sub/1999"), "precious").is_ok();
        while fs::create_dir(&gone).is_err() && commit.try_wait().unwrap().is_none() {}
        let output = commit.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let kept = fs::read_dir(world.source()).unwrap().flatten();
        let kept = kept.map(|entry| entry.file_name().into_string().unwrap());
        let kept: Vec<_> = kept
            .filter(|name| name.starts_with(".sbox-kept-"))
            .collect();
        if written {
            assert!(!output.status.success(), "{told}");
            // What comes next sweeps up after this one.
            let next = world
                .command(&sbox())
                .args(["commit", "l", "--force"])
                .output();
            let _ = next.unwrap();
        }
        if let [kept] = kept.as_slice() {
            kept_some = true;
            assert!(told.contains(kept), "{told}");
            let text = fs::read_to_string(world.source().join(kept).join("sub/1999"));
            assert_eq!(text.ok().as_deref(), Some("precious"), "{told}");
            break;
        }
    }
    assert!(kept_some, "never in time");
}

/// A file that somebody replaces, makes or writes to while what shall take its place is copied stays as it is.
#[test]
fn what_the_host_writes_during_a_copy_is_not_lost() {
    let (mut hits, mut quicker) = (0, 0);
    let ways = ["replace", "make", "write"].repeat(2);
    for &way in &ways {
        let world = World::new();
        let big = world.source().join("zbig");
        if way != "make" {
            fs::write(&big, "old").unwrap();
        }
        let layer = world.prepare("l");
        let cow = tree(&layer);
        let text = "x".repeat(200 << 20);
        write(cow.root(), c"a0", "new");
        write(cow.root(), c"zbig", &text);
        drop((cow, layer));
        std::thread::sleep(Duration::from_millis(30));
        let mut commit = begin_commit(&world);
        let copies = |name: OsString| name.to_string_lossy().starts_with(".sbox-commit-");
        let under_way = || {
            let all = fs::read_dir(world.source()).unwrap().flatten();
            all.map(|entry| entry.file_name()).any(copies)
        };
        while !under_way() && commit.try_wait().unwrap().is_none() {}
        if commit.try_wait().unwrap().is_some() {
            quicker += 1;
            continue;
        }
        if way == "replace" {
            fs::write(world.source().join("other"), "precious").unwrap();
            fs::rename(world.source().join("other"), &big).unwrap();
        } else {
            fs::write(&big, "precious").unwrap();
        }
        // In time, if it isn't what was copied that was written to.
        let in_time = fs::metadata(&big).unwrap().len() == 8 && under_way();
        let output = commit.wait_with_output().unwrap();
        if in_time {
            hits += 1;
            assert!(fs::read(&big).unwrap() == b"precious", "{way}");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && told.contains("meanwhile"),
                "{way}: {told}"
            );
            assert!(!under_way(), "{way}");
        }
    }
    if quicker == ways.len() {
        // Where blocks are shared there is no copy to be in time for.
        eprintln!("skipped: files are copied at once here");
        return;
    }
    assert!(hits > 0, "never in time");
}

/// What somebody writes deep in a directory while a commit that removes it is under way: it stays, and the commit says so.
#[test]
fn what_the_host_writes_during_a_commit_is_not_lost() {
    let mut hits = 0;
    for by_a_file in [false, true, false, true] {
        let world = World::new();
        let deep = world.source().join("zzz/sub");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "old").unwrap();
        let layer = world.prepare("l");
        let cow = tree(&layer);
        let root = cow.root();
        for n in 0..400 {
            let name = CString::new(format!("a{n}")).unwrap();
            write(root, &name, "new");
        }
        let removed = root.open_dir(c"zzz").unwrap();
        removed.open_dir(c"sub").unwrap().unlink(c"file").unwrap();
        removed.rmdir(c"sub").unwrap();
        root.rmdir(c"zzz").unwrap();
        if by_a_file {
            write(root, c"zzz", "a file");
        }
        // It is in use as long as we have it.
        drop((removed, cow, layer));
        std::thread::sleep(Duration::from_millis(30));
        let mut commit = begin_commit(&world);
        // It may have come so far already; then nothing is there to be written to.
        let written = fs::write(deep.join("file"), "precious").is_ok();
        let status = commit.wait().unwrap();
        if written {
            hits += 1;
            let text = fs::read_to_string(deep.join("file"));
            assert_eq!(text.ok().as_deref(), Some("precious"), "{status}");
            assert!(!status.success());
        }
    }
    assert!(hits > 0, "never in time");
}
