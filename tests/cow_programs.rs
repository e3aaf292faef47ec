//! Real programs in copy-on-write mounts, over a directory that holds something: the same output, the same status and the same
//! tree as natively, in the view and on the host after `sbox commit`; and no path but the view's anywhere.
//!
//! Long because each program brings its script and what it works on.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;

use support::tree::{assert_unchanged, snapshot};
use support::{Job, Output, Skip, Test, guest, need, need_sbox, sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        git_switches_branches_commits_and_packs,
        git_clones,
        npm_installs_a_package,
        pip_installs_a_wheel,
        tar_unpacks_and_make_builds,
        rsync_mirrors,
        sqlite_reads_while_it_writes_ahead,
        debian_packages_are_unpacked,
        editors_save,
        files_are_removed,
        trees_are_copied,
        directories_are_moved,
        attributes_are_changed,
        files_are_patched_and_installed,
        tools_tell_only_paths_of_the_view,
        proc_tells_only_paths_of_the_view,
    ])
}

/// How a commit goes. It must be told to replace a file of the host that has several names, as the others may be
/// elsewhere.
#[derive(PartialEq)]
enum Commit {
    Plain,
    /// All names were treated alike, so that what is left is the same.
    Force,
    /// Not all were: the others would keep what they have.
    Refused,
}

/// Programs that run in a directory.
struct Case<'c> {
    /// For bash, in the directory.
    script: &'c str,
    /// Files of which the content says when or by which process they were made; see `testdata/guests/tree.c`.
    volatile: &'c [&'c str],
    commit: Commit,
}

impl<'c> Case<'c> {
    fn new(script: &'c str) -> Self {
        Self {
            script,
            volatile: &[],
            commit: Commit::Plain,
        }
    }
}

/// Runs a case natively in one directory and in sbox in a copy-on-write mount of an equal one, and compares what the programs say,
/// the trees that they see at the end, and the tree that a commit makes. Returns what was said in sbox.
fn same(case: &Case<'_>, prepare: impl Fn(&Path)) -> Result<Output, Skip> {
    let bash = need(&["/bin/bash", "/usr/bin/bash"])?;
    let tree = guest("tree")?;
    need_sbox()?;
    let (outside, inside, state) = (scratch(), scratch(), scratch());
    for dir in [outside.path(), inside.path()] {
        prepare(dir);
        make_old(dir);
    }
    let before = snapshot(inside.path());
    let tell = |dir: &Path| {
        let job = Job::new([&tree]).arg(dir);
        case.volatile
            .iter()
            .fold(job, |job, glob| job.arg(glob))
            .dir(dir)
    };
    let job = |dir: &Path| {
        let globs: Vec<String> = case.volatile.iter().map(|g| format!("'{g}'")).collect();
        let script = format!(
            "umask 022; export LC_ALL=C TZ=UTC\n({}\n) < /dev/null; echo \"status $?\"; cd \"$0\"; exec {} \"$0\" {}",
            case.script,
            tree.display(),
            globs.join(" ")
        );
        Job::new([&bash, "-c", &script])
            .arg(dir)
            .env("HOME", text(dir))
            .dir(dir)
            .limit_secs(120)
    };
    let in_view = |job: Job, dir: &Path| {
        let flag = format!("{}=kept", dir.display());
        // git calls who has no name after the machine.
        let hostname = nix::unistd::gethostname().expect("gethostname");
        job.flags(["--cow", &flag, "--hostname", text(hostname.as_ref())])
            .state(state.path())
    };

    let native = plain(job(outside.path()).native(), outside.path());
    assert!(
        native.code() == Some(0) && native.stdout_text().contains("\nstatus 0\n"),
        "natively: {}",
        native.all()
    );
    let boxed = in_view(job(inside.path()), inside.path());
    let boxed = plain(boxed.run_sbox(), inside.path());
    assert_unchanged(&before, inside.path());
    tell(inside.path()).compare(&native, &boxed);

    let native = plain(tell(outside.path()).native(), outside.path());
    native.assert_guest_ok("tree");
    let later = in_view(tell(inside.path()), inside.path());
    let later = plain(later.run_sbox(), inside.path());
    tell(inside.path()).compare(&native, &later);

    let state_dir = text(state.path());
    let mut commit = Job::new([text(&sbox()), "commit", "kept"]);
    if case.commit == Commit::Force {
        commit = commit.arg("--force");
    }
    let commit = commit
        .env("XDG_STATE_HOME", state_dir)
        .dir(inside.path())
        .native();
    if case.commit == Commit::Refused {
        assert_eq!(commit.code(), Some(1), "commit: {}", commit.all());
        assert_unchanged(&before, inside.path());
        return Ok(boxed);
    }
    assert_eq!(commit.code(), Some(0), "commit: {}", commit.all());
    let committed = plain(tell(inside.path()).native(), inside.path());
    tell(inside.path()).compare(&committable(&native), &committable(&committed));
    let left = Job::new(["/usr/bin/find", state_dir])
        .native()
        .stdout_text();
    assert!(
        !left.contains("kept"),
        "left of what was committed: {}\n{left}",
        commit.stdout_text()
    );
    Ok(boxed)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain name")
}

/// Without the name of the directory, which is another one in each run.
fn plain(output: Output, dir: &Path) -> Output {
    let here = text(dir);
    let replace = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.replace(here, "@").into_bytes()
    };
    Output {
        stdout: replace(&output.stdout),
        stderr: replace(&output.stderr),
        ..output
    }
}

/// A tree but for what a commit doesn't keep: the times of directories, and that files are the same.
fn committable(output: &Output) -> Output {
    let text = output.stdout_text();
    let line = |line: &str| {
        let line = line.split(" same as ").next().unwrap_or_default();
        let mut words: Vec<&str> = line.split(' ').collect();
        if let Some(at) = words.iter().position(|word| *word == "links") {
            words.drain(at..at + 2);
        }
        let time = words.iter().position(|word| *word == "time");
        if let (Some(at), true) = (time, words.contains(&"directory")) {
            words.drain(at..at + 2);
        }
        words.join(" ") + "\n"
    };
    Output {
        stdout: text.lines().map(line).collect::<String>().into_bytes(),
        stderr: output.stderr.clone(),
        ..*output
    }
}

/// Runs a script on the host, to prepare a directory.
fn prepared_by(dir: &Path, script: &str) {
    let script = format!("umask 022; set -e\n{script}");
    let output = Job::new(["/bin/bash", "-c", &script])
        .env("HOME", text(dir))
        .dir(dir)
        .native();
    assert_eq!(output.code(), Some(0), "prepare: {}", output.all());
}

/// Gives everything below a directory a time long ago, so that what a program has touched can be told.
fn make_old(dir: &Path) {
    prepared_by(
        dir,
        "find . -exec touch -h -d '2001-02-03 04:05:06.123456789 UTC' {} +",
    );
}

/// A small project: what the host's directory holds before any program comes.
fn project(dir: &Path) {
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("write");
    for sub in [
        "src",
        "docs/deep/er",
        "bin",
        "data",
        "empty",
        "many",
        "private",
    ] {
        fs::create_dir_all(dir.join(sub)).expect("mkdir");
    }
    write("README", "one\ntwo\nthree\n");
    write("src/util.h", "int twice(int);\n");
    write(
        "src/util.c",
        "#include \"util.h\"\nint twice(int n) { return 2 * n; }\n",
    );
    write(
        "src/main.c",
        "#include <stdio.h>\n#include \"util.h\"\nint main(void) { return printf(\"%d\\n\", twice(21)) < 0; }\n",
    );
    write(
        "Makefile",
        "prog: main.o util.o\n\tcc -o $@ $^\n%.o: src/%.c src/util.h\n\tcc -O -c -o $@ $<\nclean:\n\trm -f *.o prog\n",
    );
    write("bin/run.sh", "#!/bin/sh\necho \"ran $0\"\n");
    set_mode(&dir.join("bin/run.sh"), 0o755);
    for name in [
        "docs/a.txt",
        "docs/b.txt",
        "docs/deep/c.txt",
        "docs/deep/er/d.txt",
    ] {
        write(name, &format!("text of {name}\n"));
    }
    write("docs/a name with spaces", "spaces\n");
    write("docs/two\nlines", "newline\n");
    for n in 0..20 {
        write(&format!("many/f{n}"), &format!("{n}\n"));
    }
    write("data/one", "linked\n");
    for name in ["data/two", "data/three"] {
        fs::hard_link(dir.join("data/one"), dir.join(name)).expect("link");
    }
    write("data/read-only", "fixed\n");
    set_mode(&dir.join("data/read-only"), 0o444);
    let sparse = fs::File::create(dir.join("data/sparse")).expect("create");
    sparse.set_len(3 << 20).expect("truncate");
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", (3 << 20) - 3).expect("write");
    symlink("README", dir.join("link")).expect("symlink");
    symlink("nowhere/at/all", dir.join("dangling")).expect("symlink");
    symlink("docs", dir.join("docs-link")).expect("symlink");
    write("private/key", "secret\n");
    set_mode(&dir.join("private"), 0o700);
    nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRUSR).expect("mkfifo");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// What git says depends on nothing but the commands.
const GIT: &str = r#"
    export GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z' GIT_CONFIG_NOSYSTEM=1
    g() { git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -c gc.auto=0 -c pack.threads=1 -c protocol.file.allow=always "$@"; }
"#;

/// Objects are touched anew by whatever would write them again, which depends on the clock.
const TOUCH: &str = "find \"$0\" -path '*/objects/*' -exec touch {} +";

/// A repository with two branches that differ in files, directories, modes and links.
fn repository(dir: &Path) {
    let script = format!(
        r#"{GIT}
        g init -q repo; cd repo
        for i in 1 2 3; do mkdir -p d$i/e; for j in 1 2 3 4; do echo "$i $j" > d$i/f$j; done; echo $i > d$i/e/x; g add -A; g commit -qm "commit $i"; done
        g checkout -qb side; g rm -rq d1; echo side > d2/f1; mkdir d3/new; echo new > d3/new/n; ln -s d2/f1 link; chmod +x d3/f1; rm -r d3/e; echo file > d3/e
        g add -A; g commit -qm side; g checkout -q main
        "#
    );
    prepared_by(dir, &script);
}

const GIT_VOLATILE: &[&str] = &["*.git/index", "*.git/worktrees/*/index"];

fn git_switches_branches_commits_and_packs() -> Test {
    need(&["/usr/bin/git", "/usr/local/bin/git"])?;
    let script = format!(
        r#"{GIT}
        set -e; cd repo; g status --short --branch; g checkout -q side; ls -R; g status --short; g checkout -q main; g status --short
        g merge -q -m merged side; g log --format='%H %s' --graph; g mv d2/f2 moved; g rm -rq d3; mkdir d3; echo again > d3/again; g add -A
        g stash -q; g stash pop -q; g commit -qm 'moves and removals'; g tag v1; g checkout -q HEAD~2; g checkout -q -; g reset -q --hard HEAD~1; g reset -q --hard v1
        g worktree add -q ../wt side; ls ../wt; g worktree remove ../wt; g gc -q --prune=now; g fsck --strict; g count-objects -v | grep -v size
        g log --format=%H --all | sort; g clean -ndx; g diff --stat v1 side; {TOUCH}
        "#
    );
    let mut case = Case::new(&script);
    case.volatile = GIT_VOLATILE;
    same(&case, repository).map(drop)
}

fn git_clones() -> Test {
    need(&["/usr/bin/git", "/usr/local/bin/git"])?;
    let script = format!(
        r#"{GIT}
        set -e; g clone -q repo copy 2>&1; cd copy; g checkout -q side; echo more >> d2/f1; g commit -qam more; g push -q origin HEAD:refs/heads/pushed; g -C ../repo branch
        g -C ../repo checkout -q pushed; cat ../repo/d2/f1; cd ..; g clone -q --no-hardlinks --bare repo bare.git 2>&1; g -C bare.git log --format=%H --all | sort; g clone -q --depth 1 "file://$PWD/repo" shallow 2>&1
        g -C shallow log --format=%H; g -C repo fsck --strict; g -C copy fsck --strict; rm -rf shallow; {TOUCH}
        "#
    );
    let mut case = Case::new(&script);
    case.volatile = GIT_VOLATILE;
    same(&case, repository).map(drop)
}

fn npm_installs_a_package() -> Test {
    need(&["/usr/bin/node", "/usr/local/bin/node"])?;
    need(&["/usr/bin/npm", "/usr/local/bin/npm"])?;
    let script = r#"
        set -e; export npm_config_cache=$PWD/cache npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false npm_config_offline=true
        npm install --no-progress ./small-1.0.0.tgz | sed 's/in .*s$/in time/'; node -e 'console.log(require("small")())'; ls -A node_modules node_modules/.bin; ./node_modules/.bin/small
        rm -r node_modules/small; npm install --no-progress | sed 's/in .*s$/in time/'; ls -A node_modules; npm uninstall small | sed 's/in .*s$/in time/'; ls -A; rm -rf cache .npm
    "#;
    let prepare = |dir: &Path| {
        prepared_by(
            dir,
            r#"mkdir -p package/bin node_modules/old; echo 'module.exports = () => "from small";' > package/index.js
            printf '#!/usr/bin/env node\nconsole.log(require("../index.js")() + " by bin");\n' > package/bin/small.js; chmod +x package/bin/small.js
            echo '{"name":"small","version":"1.0.0","main":"index.js","bin":{"small":"bin/small.js"},"license":"MIT"}' > package/package.json
            tar --sort=name --mtime=@1000000000 --owner=0 --group=0 -czf small-1.0.0.tgz package; rm -r package
            echo '{"name":"app","version":"1.0.0","private":true,"license":"MIT"}' > package.json; echo stale > node_modules/old/file"#,
        );
    };
    same(&Case::new(script), prepare).map(drop)
}

fn pip_installs_a_wheel() -> Test {
    need(&["/usr/bin/python3"])?;
    let has = |module: &str| {
        let import = format!("import {module}");
        Job::new(["/usr/bin/python3", "-c", &import])
            .native()
            .code()
            == Some(0)
    };
    for module in ["venv", "pip", "ensurepip"] {
        if !has(module) {
            return Err(Skip(format!("no {module} for /usr/bin/python3")));
        }
    }
    let script = r#"
        set -e; export PYTHONDONTWRITEBYTECODE=1 PIP_NO_INDEX=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
        /usr/bin/python3 -m venv --without-pip venv; /usr/bin/python3 -m pip --python venv/bin/python install -q ./small-1.0-py3-none-any.whl 2>&1
        venv/bin/python -c 'import small, sys; print(small.hello(), sys.prefix)'; venv/bin/small; ls venv/lib/*/site-packages
        /usr/bin/python3 -m pip --python venv/bin/python uninstall -qy small; ls venv/bin; /usr/bin/python3 -m pip --python old/bin/python install -q ./small-1.0-py3-none-any.whl 2>&1; old/bin/small
    "#;
    let prepare = |dir: &Path| {
        prepared_by(
            dir,
            r#"/usr/bin/python3 -m venv --without-pip old
            /usr/bin/python3 - <<'END'
import zipfile
def entry(z, name, text): z.writestr(zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6)), text)
info = "small-1.0.dist-info/"
with zipfile.ZipFile("small-1.0-py3-none-any.whl", "w") as z:
    entry(z, "small/__init__.py", "def hello(): return 'hello'\ndef main(): print('hello from', __file__)\n")
    entry(z, info + "METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    entry(z, info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    entry(z, info + "entry_points.txt", "[console_scripts]\nsmall = small:main\n")
    names = ["small/__init__.py"] + [info + n for n in ("METADATA", "WHEEL", "entry_points.txt", "RECORD")]
    entry(z, info + "RECORD", "".join(n + ",,\n" for n in names))
END"#,
        );
    };
    let mut case = Case::new(script);
    // The wheel's compiled files tell when it was installed, and the record has their hashes.
    case.volatile = &["*.pyc", "*/RECORD"];
    same(&case, prepare).map(drop)
}

fn tar_unpacks_and_make_builds() -> Test {
    for tool in ["/usr/bin/make", "/usr/bin/cc", "/usr/bin/gzip"] {
        need(&[tool, tool.trim_start_matches("/usr")])?;
    }
    let script = r#"
        set -e; chmod u+w data/read-only; tar xpf p.tar.gz --recursive-unlink; make -j2 | sort; ./prog; cd new; make -s -j2; ./prog; make -q && echo up to date; touch -d @1600000000 src/util.h; make -q || echo out of date; cd ..
        tar xpf p.tar.gz --unlink-first 2>&1 | sort || :; chmod u+w data/read-only; tar xpf p.tar.gz --overwrite; tar df p.tar.gz && echo no difference; make clean; make -s; ./prog
        tar --sort=name -cf - docs data new/docs | tar tvf - | awk '{ print $1, $3, $6, $7, $8 }' | sort; (cd new; tar --remove-files -cf ../gone.tar docs many); ls -A new; rm gone.tar p.tar.gz
    "#;
    let prepare = |dir: &Path| {
        project(dir);
        make_old(dir);
        prepared_by(
            dir,
            "mkdir new; cp -a src Makefile docs many new/; echo '/* changed */' >> new/src/util.c; tar --sort=name -czf p.tar.gz src new docs data; rm -r new/src new/docs/deep; rm docs/a.txt; mkdir docs/a.txt; echo x > docs/a.txt/in-the-way; rm -r docs/deep/er; echo file > docs/deep/er",
        );
    };
    let mut case = Case::new(script);
    case.commit = Commit::Force;
    same(&case, prepare).map(drop)
}

fn rsync_mirrors() -> Test {
    need(&["/usr/bin/rsync"])?;
    let script = r#"
        set -e; rsync -aH --delete docs/ mirror/; rsync -aHS data src many mirror/; rsync -a --inplace README mirror/a.txt; rsync -a --delete --itemize-changes src/ docs/ | sort
        rsync -a --inplace --no-whole-file data/sparse mirror/data/sparse; rsync -a --link-dest="$PWD/many" many/ linked; rsync -a --remove-source-files many/ moved; find many -depth -empty -delete; rsync -aR docs/./util.c bin/run.sh mirror; rsync -anc --itemize-changes mirror/data/ data/
    "#;
    let prepare = |dir: &Path| {
        project(dir);
        prepared_by(
            dir,
            "mkdir -p mirror/stale mirror/data; echo old > mirror/stale/f; echo old > mirror/a.txt; echo shorter > mirror/data/sparse; rm pipe",
        );
    };
    same(&Case::new(script), prepare).map(drop)
}

fn sqlite_reads_while_it_writes_ahead() -> Test {
    let sqlite = need(&["/usr/bin/sqlite3"])?;
    // The reader holds its snapshot while the writer goes on; both speak when they are asked to.
    let script = format!(
        r#"
        set -e; s() {{ {sqlite} -batch -cmd '.timeout 20000' "$@"; }}
        coproc READER {{ s x.db; }}; say() {{ echo "$1" >&"${{READER[1]}}"; local line; read -r line <&"${{READER[0]}}"; echo "reader: $line"; }}
        say 'begin; select count(*), sum(length(b)) from t;'
        s x.db "insert into t(b) select b || '!' from t;" "select count(*) from t;"; ls; say 'select count(*) from t;'
        for i in 1 2 3; do s x.db "insert into t(b) values('$i');" & done; wait $(jobs -p | grep -v "^$READER_PID$"); s x.db 'select count(*) from t;'; say 'select count(*) from t;'; say 'commit; select count(*) from t;'
        s x.db 'pragma wal_checkpoint(truncate);'; say 'select count(*) from t;'; exec {{READER[1]}}>&-; wait $READER_PID
        s x.db 'pragma integrity_check; delete from t where a % 3 = 0; vacuum; pragma journal_mode=delete; select count(*), sum(a) from t;'; ls
        s y.db 'pragma journal_mode=wal; create table u(a); insert into u values(1);' 'attach "x.db" as x; begin; insert into u select count(*) from x.t; delete from x.t where a = 1; commit; select * from u;'
        "#
    );
    let prepare = |dir: &Path| {
        let fill = "pragma journal_mode=wal; create table t(a integer primary key, b text); with recursive n(i) as (select 1 union all select i+1 from n where i < 500) insert into t(b) select 'row ' || i from n;";
        prepared_by(dir, &format!("{sqlite} x.db \"{fill}\""));
    };
    let mut case = Case::new(&script);
    // The order of three writers.
    case.volatile = &["x.db"];
    same(&case, prepare).map(drop)
}

fn debian_packages_are_unpacked() -> Test {
    need(&["/usr/bin/dpkg-deb"])?;
    need(&["/usr/bin/dpkg"])?;
    let script = r#"
        set -e; export SOURCE_DATE_EPOCH=1000000000; dpkg-deb --root-owner-group -Zgzip -b tree small.deb | sed 's/in .*/in file/'; dpkg -I small.deb | grep -v 'size\|bytes'; dpkg -c small.deb | awk '{ print $1, $2, $6, $7, $8 }'
        dpkg -x small.deb root; dpkg -e small.deb control; dpkg -x small.deb new; cat root/usr/share/doc/small/copyright; ./root/usr/bin/small; dpkg-deb -f small.deb Version; rm small.deb
        dpkg -x old.deb root; find root | sort
    "#;
    let prepare = |dir: &Path| {
        prepared_by(
            dir,
            r#"mkdir -p tree/DEBIAN tree/usr/bin tree/usr/share/doc/small root/usr/bin root/usr/share/doc
            printf 'Package: small\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: small\n' > tree/DEBIAN/control
            printf '#!/bin/sh\necho small\n' > tree/usr/bin/small; chmod 755 tree/usr/bin/small; ln -s small tree/usr/bin/other; ln tree/usr/bin/small tree/usr/bin/linked; echo free > tree/usr/share/doc/small/copyright
            SOURCE_DATE_EPOCH=1000000000 dpkg-deb --root-owner-group -Zgzip -b tree old.deb > /dev/null; echo before > root/usr/bin/small; echo mine > root/usr/bin/mine; ln -s ../share root/usr/doc"#,
        );
    };
    same(&Case::new(script), prepare).map(drop)
}

fn editors_save() -> Test {
    need(&["/usr/bin/perl"])?;
    let ex = need(&["/usr/bin/vim", "/usr/bin/vim.basic", "/usr/bin/vim.tiny"])?;
    let vim = format!("{ex} -u NONE -i NONE -es -N");
    let script = format!(
        r#"
        set -e; sed -i s/two/TWO/ README; sed -i.bak s/text/TEXT/ docs/*.txt; sed -i --follow-symlinks s/one/ONE/ link; perl -pi -e s/int/long/ src/*.c; perl -pi.orig -e s/linked/LINKED/ data/two
        {vim} -c 'set nobackup' -c '%s/three/THREE/' -c wq README; {vim} -c 'set backup backupcopy=no' -c 's/text/VIM/i' -c wq docs/b.txt; {vim} -c 'set backupcopy=yes' -c 'normal osecond line' -c wq docs/deep/c.txt
        {vim} -c 'normal onew' -c 'wq! brand-new'; {vim} -c 'set writebackup' -c 'g/LINKED/s/$/ by vim/' -c 'wq!' data/two; {vim} -c 'normal oforced' -c 'wq!' data/read-only; {vim} -c 'normal othrough a link' -c wq link
        perl -e 'use IO::Handle; for my $f ("README", "many/f3", "fresh") {{ open(my $o, ">", "$f.tmp~") or die; print $o "saved $f\n"; $o->flush; $o->sync or die; close $o; chmod 0640, "$f.tmp~"; rename "$f.tmp~", $f or die }} opendir(my $d, ".") or die; print join(" ", sort readdir $d), "\n"'
        perl -e 'open(my $held, "<", "many/f4") or die; rename "many/f5", "many/f4" or die; print <$held>; open(my $now, "<", "many/f4") or die; print <$now>; link "many/f6", "many/f6~" or die; open(my $o, ">", "many/.new") or die; print $o "x"; close $o; rename "many/.new", "many/f6" or die; unlink "many/f6~" or die'
        cat README docs/*.txt data/two data/three data/read-only link brand-new src/util.c; ls -A . docs data many
        "#
    );
    let mut case = Case::new(&script);
    case.commit = Commit::Force;
    same(&case, project).map(drop)
}

fn files_are_removed() -> Test {
    let script = r#"
        set -e; find docs -name '*.txt' -delete -print | sort; find docs | sort; find many -type f -name 'f1*' -exec rm {} +; find many -name 'f?' -newermt 2000-01-01 -delete; rm -rf src bin; ls -A; mkdir src; echo only > src/only; ls -A src
        rm data/one; cat data/two; rm -f data/absent; rm -r empty; rmdir docs/deep/er docs/deep; mkdir -p docs/deep; ls -A docs/deep; rm -rf docs; mkdir docs; rmdir docs; echo file > docs; rm pipe dangling docs-link; ln -s many docs-link; rm -rf many/* private; ls -A many
        find . -depth -name 'f*' -print; rmdir many; mkdir many many/sub; rm -rf many; touch many; find . | sort; rmdir --ignore-fail-on-non-empty src; find . -empty | sort; unlink README; unlink link
    "#;
    let mut case = Case::new(script);
    case.commit = Commit::Force;
    same(&case, project).map(drop)
}

fn trees_are_copied() -> Test {
    let script = r#"
        set -e; "$TREE" set README user.note text; "$TREE" set docs user.dir attribute; mkdir copy; cp -a README docs data src bin link dangling docs-link pipe private copy/; diff -r --no-dereference -x pipe docs copy/docs && echo same
        cp -al many hard; ls hard | wc -l; echo via a link > hard/f1; cat many/f1; cp --sparse=always data/sparse copy/sparse; cmp data/sparse copy/sparse && echo equal; cp --reflink=auto --preserve=all data/one copy/one; cp -r --remove-destination src copy/; cp -au docs copy/; cp -b README copy/README
        cp --backup=numbered README src/util.h; ls src; cp -aT empty copy/empty; cp -as "$PWD/many" links; readlink links/f3 | sed "s|$PWD|here|"; cp -L link copy/followed; cp -P link copy/kept; cp --parents docs/deep/c.txt copy; dd if=data/sparse of=copy/part bs=1k skip=3070 conv=sparse 2> /dev/null; tail -c 3 copy/part; echo
    "#;
    let tree = guest("tree")?;
    let script = format!("TREE={}; {script}", tree.display());
    same(&Case::new(&script), project).map(drop)
}

fn directories_are_moved() -> Test {
    let script = r#"
        set -e; mv docs moved; ls -AR moved; mv moved/deep deeper; mv deeper moved/back; mv src bin data moved; ls -A moved; mkdir docs; mv moved docs/inside; find docs | sort; mv many/f1 many/renamed; mv -f many/f2 many/f3; mv -n many/f4 many/f5 || :; mv -b many/f6 many/f7
        mv docs/inside/src .; mv src other; mv other src; mkdir empty/new; mv empty full; mv full empty; mv private public; mv public private; mv link docs; mv README README.md; mv README.md README; mv -T empty/new empty/newer; mv pipe tube
        mv docs/inside/data/two docs/inside/data/renamed; mkdir a; mv a b; mv b docs; mv docs/b c; mv c/ d; mv -T d docs/inside/back 2>&1 || echo "refused $?"; perl -e 'rename "d", "D" or die; mkdir "x"; rename "x", "y" or die; rename "y", "many/y" or die; rename "many/y", "docs/inside/y" or die'; find . | sort
    "#;
    same(&Case::new(script), project).map(drop)
}

fn attributes_are_changed() -> Test {
    let script = r#"
        set -e; chmod -R go-rwx docs; chmod -R u+w data; chmod 2755 many; chmod 1777 empty; chmod 0 README; stat -c '%a %n' README docs docs/a.txt many empty; chmod 644 README; chmod u+x,o+t src; touch -d '2002-03-04 05:06:07.5 UTC' README src docs/a.txt; touch -h -d '2003-01-01 UTC' link; touch -r README many/f1 data/one
        stat -c '%n %Y %y' README src docs/a.txt link many/f1 data/two; touch new README bin; touch -a -d '2004-01-01 UTC' many/f2; touch -m -d '2004-01-01 UTC' many/f3; stat -c '%n %Y' many/f2 many/f3; ln README hard; ln -s README soft; ln -sfn docs docs-link; ln -f many/f4 many/f5; ln data/one data/four; ln -P link link-linked; stat -c '%n %h' README hard soft link many/f5
        truncate -s 5 many/f6; truncate -s +1M data/sparse; truncate -c -s 9 absent; chgrp -R "$(id -g)" docs; chown "$(id -u)" README; stat -c '%s %n' many/f6 data/sparse; "$TREE" set docs user.a 1; "$TREE" set docs/b.txt user.b 22; "$TREE" set many/f7 user.overlay.opaque y; test -w data/read-only && echo writable; test ! -x README && echo not executable; find . -perm -u+x -type f | sort; find . -newermt '2001-06-01' ! -newermt '2005-01-01' | sort
    "#;
    let tree = guest("tree")?;
    let script = format!("TREE={}; {script}", tree.display());
    let mut case = Case::new(&script);
    case.commit = Commit::Force;
    same(&case, project).map(drop)
}

fn files_are_patched_and_installed() -> Test {
    need(&["/usr/bin/patch"])?;
    let script = r#"
        set -e; patch -p1 < change.patch; patch -p1 -R < change.patch; patch -b -p1 < change.patch; patch -p1 -N < change.patch > /dev/null || echo "rejected $?"; find . -name '*.rej' -delete; cat src/util.c README docs/new/file; test ! -e docs/a.txt && echo removed
        install -m 755 -D bin/run.sh root/usr/bin/run; install -m 640 README docs/b.txt; install -d -m 711 root/var/a root/var/b; install -p -m 600 src/util.h private/key; install -C bin/run.sh root/usr/bin/run; install -b -m 444 README data/read-only; ./root/usr/bin/run; bin/run.sh; tee -a docs/b.txt many/new < README > /dev/null; cat >> docs/deep/c.txt <<< more
        diff -u --label a --label b docs/b.txt README > out.diff || patch -o patched docs/b.txt out.diff; cmp patched README && echo applied; split -n 3 README part-; cat part-*; sort -o README README; cat README; csplit -s README 2; shuf -n 0 README; mktemp -p many XXXXXX | sed 's/[^/]*$/name/'; rm many/??????; mkfifo many/pipe; cat README > many/pipe & cat many/pipe; wait
    "#;
    let prepare = |dir: &Path| {
        project(dir);
        prepared_by(
            dir,
            "mkdir a b; for d in a b; do cp -a src README docs $d/; done; sed -i 's/2 \\* n/n + n/' b/src/util.c; sed -i s/two/2/ b/README; rm b/docs/a.txt; mkdir b/docs/new; echo new > b/docs/new/file; diff -ruN a b > change.patch || :; sed -i 's/\\t.*//' change.patch; rm -r a b",
        );
    };
    same(&Case::new(script), prepare).map(drop)
}

/// Everything in such a directory: untouched, copied up, new, removed while open. Sets `$1`… to names.
const STIR: &str = r#"
    set -e; echo more >> README; chmod 700 docs/deep; echo new > fresh; mkdir made made/in; echo in > made/in/f; ln data/one data/four; ln -s "$PWD/fresh" absolute
    exec 4< docs/b.txt 5< README 6< docs 7< made/in 8< src/util.c 9> gone; rm docs/b.txt gone; rm -r made/in src; echo less >> data/two
"#;

fn tools_tell_only_paths_of_the_view() -> Test {
    let acl = if Path::new("/usr/bin/getfacl").exists() {
        "getfacl -p README docs fresh \"$PWD/docs/deep\""
    } else {
        "echo no getfacl"
    };
    // What differs from host to host, or with the file system: only looked at.
    let aside = format!(
        r#"{STIR}
        ls -laR --time-style=+; ls -lid . docs made README; find . -ls; du -a; df . docs README; df -a; stat -f . README made; stat README docs fresh absolute; {acl}; mount || :; findmnt || :; namei -l "$PWD/docs/deep/c.txt" || :; readlink -e absolute docs-link; lsof -p $$ 2> /dev/null || :; env; set; id
        "#
    );
    let script = format!(
        r#"{STIR}
        find . -printf '%p %y %l %m\n' | sort; find "$PWD" -name 'f*' | sort; pwd -P; realpath . docs docs-link docs/../link absolute made/absent; readlink -f link docs-link/deep absolute dangling || echo none; readlink absolute; cd docs-link/deep; pwd -L; pwd -P; /bin/pwd; cd -P ..; pwd
        cd "$0/made"; ls -l /proc/self/cwd | sed 's/.*-> //'; readlink /proc/self/cwd /proc/self/root; mkdir gone; cd gone; rmdir ../gone; readlink /proc/self/cwd; /bin/pwd 2> /dev/null || echo nowhere; ls -a; cd "$0"; mkdir docs/deep/er/x; cd docs/deep/er; rm -r ../../../docs; readlink /proc/self/cwd; cd "$0"; mkdir docs; ls docs; [[ docs -ef /proc/self/fd/6 ]] || echo another
        for n in 4 5 6 7 8 9; do readlink /proc/self/fd/$n; done; cat /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/8; ls -l /proc/self/fd | sed -n 's/.* \([4-9] -> .*\)/\1/p'; ls /proc/self/fdinfo | grep '^[4-9]$'; cut -f1 /proc/self/fdinfo/5; tr '\0' '\n' < /proc/self/cmdline; exec 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
        "#
    );
    same(
        &Case {
            commit: Commit::Refused,
            ..Case::new(&script)
        },
        project,
    )?;
    let (dir, state) = (scratch(), scratch());
    project(dir.path());
    let output = Job::new(["/bin/bash", "-c", &aside])
        .dir(dir.path())
        .flags([Path::new("--cow"), dir.path()])
        .state(state.path())
        .run_sbox();
    assert_eq!(output.code(), Some(0), "{}", output.all());
    assert!(
        output.stdout_text().contains("docs/deep"),
        "{}",
        output.all()
    );
    only_the_views(&output, dir.path());
    Ok(())
}

/// Fails if a path is told that is none of the view's.
fn only_the_views(output: &Output, dir: &Path) {
    let base = support::scratch_base();
    let (base, guests) = (text(&base).to_owned(), support::guest::dir());
    let own = format!("sbox-{}", nix::unistd::getuid());
    let system = [
        "/usr", "/bin", "/sbin", "/lib", "/etc", "/opt", "/dev", "/proc", "/sys", "/tmp",
    ];
    let said = output.all();
    for line in said.lines() {
        assert!(!line.contains(&own), "a private directory: {line}");
        let rest = line.replace(text(dir), "").replace(text(&guests), "");
        assert!(!rest.contains(&base), "a path of the host: {line}");
        for word in line.split(|c: char| c.is_whitespace() || "=:,;'\"(){}<>|&".contains(c)) {
            let known = |top: &&str| word.starts_with(*top);
            let is_path = word.len() > 1 && word.starts_with('/') && !word.starts_with("//");
            // The directories on the way to the mount are the view's own.
            let on_the_way = dir.starts_with(word) || guests.starts_with(word);
            assert!(
                !is_path
                    || word.starts_with(text(dir))
                    || on_the_way
                    || system.iter().any(known)
                    || guests.starts_with(word),
                "a path of nowhere, {word}: {line}"
            );
        }
    }
}

fn proc_tells_only_paths_of_the_view() -> Test {
    // `hold PROGRAM` starts a copy of cat(1) and returns when it runs; `release` ends it.
    let script = r#"
        hold() { coproc HELD { exec "$1"; }; echo started >&"${HELD[1]}"; local line; read -r line <&"${HELD[0]}"; pid=$HELD_PID; }
        release() { exec {HELD[1]}>&-; wait "$pid"; }
        paths() { sed -nE 's/^[0-9a-f]+-[0-9a-f]+ .{4} [0-9a-f]+ [0-9a-f:]+ [0-9]+ +//p' "/proc/$pid/$1" | grep '^/' | grep -v '^/usr\|^/lib' | uniq; }
        all() { readlink "/proc/$pid/exe"; local k; for k in maps smaps "task/$pid/maps"; do echo "$1: ${k%%/*}"; paths "$k"; done; if [[ -e /proc/$pid/numa_maps ]]; then grep -o 'file=[^ ]*' "/proc/$pid/numa_maps" | grep -v '=/usr\|=/lib' | uniq; fi; }
        columns() { grep / "/proc/$pid/maps" | awk '{ print index($0, "/") }' | uniq; grep -c '' "/proc/$pid/maps"; }
        tmp=$(mktemp /tmp/cat-XXXXXX); cp /bin/cat "$tmp"; chmod 755 "$tmp"; cp /bin/cat new; cp /bin/cat $'new\nline (deleted)'; echo >> linked; echo >> touched; chmod 700 moded
        for f in ./lower ./touched ./moded ./linked ./other ./third ./new $'./new\nline (deleted)' ./link ./sub/lower "./a b"; do hold "$f"; all "$f"; columns; release; done
        hold "$tmp"; all tmp | sed "s|$tmp|the one in /tmp|"; rm "$tmp"; paths maps | sed "s|$tmp|the one in /tmp|"; release
        for f in ./lower ./touched ./third ./new ./sub/lower; do hold "$f"; rm "$f"; all "removed $f"; cp /bin/cat "$f"; all "replaced $f"; release; done
        hold ./moded; mv moded elsewhere; all renamed; release; hold ./elsewhere; mv new elsewhere; all overwritten; release
        mkdir dir; cp /bin/cat dir/cat; hold dir/cat; mv dir moved; all 'directory renamed'; rm -r moved; all 'directory removed'; release; hold sub/again; rm -r sub; all "lower's directory removed"; mkdir sub; all 'and made anew'; release
        exec 4< /proc/self/maps 5< /proc/self/mountinfo 6< /proc/self/status 7< /proc/self/mounts 8< /proc/cpuinfo; for n in 4 5 6 7 8; do readlink /proc/$$/fd/$n | sed "s/$$/SELF/"; done; stat -c '%F %a' /proc/self/maps /proc/self/smaps; echo x 2> /dev/null > /proc/self/maps || echo not written
        [[ $(cat /proc/self/cmdline | tr '\0' ' ') == 'cat /proc/self/cmdline ' ]] && echo arguments; tr '\0' '\n' < /proc/self/environ | grep -v '^_\|^SHLVL\|^PWD\|^OLDPWD' | sort; perl -e 'open(my $m, "<", "/proc/self/maps"); my $n = () = <$m>; print $n > 5 ? "read\n" : "short\n"'
    "#;
    let prepare = |dir: &Path| {
        prepared_by(
            dir,
            "mkdir sub; for f in lower touched moded linked 'a b' sub/lower sub/again; do cp /bin/cat \"$f\"; done; ln linked other; ln linked third; ln -s lower link",
        );
    };
    let mut case = Case::new(script);
    case.commit = Commit::Refused;
    let said = same(&case, prepare)?;
    assert!(said.stdout_text().contains("@/other"), "{}", said.all());
    let aside = "cp /bin/cat new; cp new /tmp/new; echo >> lower; for p in cat ./new ./lower ./linked /tmp/new; do for f in maps smaps numa_maps mountinfo mounts environ cmdline stat status limits; do $p /proc/self/$f 2> /dev/null | tr -d '\\0'; done; $p /proc/self/fdinfo/*; done; ls -l /proc/self /proc/self/fd; exit 0";
    let (dir, state) = (scratch(), scratch());
    prepare(dir.path());
    let output = Job::new(["/bin/bash", "-c", aside])
        .dir(dir.path())
        .flags([Path::new("--cow"), dir.path()])
        .state(state.path())
        .run_sbox();
    assert_eq!(output.code(), Some(0), "{}", output.all());
    let said = output.stdout_text();
    for expected in [
        "/tmp/new",
        &format!("{}/new", dir.path().display()),
        "[stack]",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    only_the_views(&output, dir.path());
    Ok(())
}
