//! Real programs, natively and in sbox: the same output, the same status.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use support::{Job, Output, Skip, Test, need, need_sbox, scratch};

fn main() -> ExitCode {
    support::main(tests![
        shell_pipelines,
        a_hundred_dash_pipelines,
        bash_job_control_and_traps,
        text_tools,
        archives,
        python_basics,
        python_subprocesses,
        python_threads_and_processes,
        git_from_init_to_clone,
        gcc_compiles_and_runs,
        parallel_make,
        cargo_builds_a_crate,
        sqlite_with_write_ahead_log,
        node_reads_and_spawns,
        perl_does_its_things,
        processors_are_counted,
    ])
}

/// Runs a script natively and in sbox, each in a directory of its own that `prepare` fills, and compares.
///
/// The directories have different names of the same length; a script that prints its directory prints `$PWD`'s base name at most.
fn same(
    shell: &str,
    script: &str,
    prepare: impl Fn(&Path),
    adjust: impl Fn(Job) -> Job,
) -> Result<Output, Skip> {
    need_sbox()?;
    let (outside, inside) = (scratch(), scratch());
    prepare(outside.path());
    prepare(inside.path());
    let job = |dir: &Path| {
        let home = dir.to_str().expect("plain name");
        adjust(
            Job::new([shell, "-c", script])
                .env("HOME", home)
                .limit_secs(180),
        )
    };
    let native = job(outside.path()).dir(outside.path()).native();
    assert_eq!(native.code(), Some(0), "natively: {}", native.all());
    let job = job(inside.path()).writable_dir(inside.path());
    let boxed = job.run_sbox();
    job.compare(&native, &boxed);
    Ok(boxed)
}

fn empty(_: &Path) {}

fn plain(job: Job) -> Job {
    job
}

fn shell_pipelines() -> Test {
    let bash = need(&["/bin/bash"])?;
    let script = r#"
        set -o pipefail
        seq 1 1000 | sort -n | uniq | head -5 | tr '\n' ' '; echo "${PIPESTATUS[@]:0:3}"
        for i in {1..50}; do echo "$(echo "$i" | cat | cat)"; done | md5sum
        diff <(echo a; echo b) <(echo a; echo c); echo "diff $?"
        cat <<< "here string"; cat <<END
here document $((6 * 7))
END
        false | true; echo "pipefail $?"
        exec 7> out.txt; echo seven >&7; exec 7>&-; cat out.txt
        mkdir -p d/e; echo x > d/e/f; (cd d && cat e/f); pushd d/e > /dev/null; cat f; popd > /dev/null
        shopt -s globstar nullglob; echo **/f; echo no*such; [[ -f d/e/f && ! -e d/g ]] && echo test
        read -r a b < <(echo one two); echo "$b $a"; mapfile -t lines < <(seq 3); echo "${#lines[@]}"
        coproc CAT { cat; }; echo through >&"${CAT[1]}"; read -r -u "${CAT[0]}" back; echo "$back"
        timeout 0.1 sleep 5; echo "timeout $?"; command -v ls > /dev/null && echo found; no_such_command 2> /dev/null; echo $?
    "#;
    same(&bash, script, empty, plain).map(drop)
}

fn a_hundred_dash_pipelines() -> Test {
    let dash = need(&["/bin/dash", "/usr/bin/dash"])?;
    let script = "i=0; while [ $i -lt 100 ]; do echo $i | cat | sed s/^/n/; i=$((i+1)); done";
    let output = same(&dash, script, empty, plain)?;
    assert_eq!(
        output.stdout_text().lines().count(),
        100,
        "{}",
        output.all()
    );
    Ok(())
}

fn bash_job_control_and_traps() -> Test {
    let bash = need(&["/bin/bash"])?;
    let script = r#"
        trap 'echo "usr1"' USR1; kill -USR1 $$
        sleep 0.2 & wait $!; echo "waited $?"
        (exit 3) & p=$!; wait $p; echo "status $?"
        sleep 10 & p=$!; kill -TERM $p; wait $p; echo "killed $?"
        for i in 1 2 3 4 5; do (sleep 0.0$i; exit $i) & done; wait; echo "all done"
        sleep 10 & p=$!; kill -STOP $p; kill -CONT $p; kill -KILL $p; wait $p 2> /dev/null; echo "stopped and killed $?"
        set -m; sleep 0.1 & fg > /dev/null; echo "fg $?"; set +m
        (trap '' TERM; kill -TERM $BASHPID; echo ignored)
        (trap 'echo child trap; exit 9' TERM; kill -TERM $BASHPID; sleep 5); echo "trap $?"
        trap 'echo chld' CHLD; /bin/true; trap - CHLD
        (ulimit -n 20; for i in $(seq 30); do eval "exec $((i + 2))< /dev/null" 2> /dev/null || break; done; echo "limit $((i > 10))")
        trap 'echo bye' EXIT # last: a child killed between its fork and its exec runs it too
        umask 027; : > f; stat -c %a f; set -e; (false; echo not reached) || echo "errexit off in a condition"
    "#;
    same(&bash, script, empty, |job| job.ignore_stderr()).map(drop)
}

fn text_tools() -> Test {
    let script = r#"
        find . -type f | sort | md5sum; find . -name '*7*' -newermt 2000-01-01 | wc -l; find . -type d -empty | sort
        find . -name 'f1*' -exec grep -l line {} + | sort | head -3
        grep -rn 'line 3' . | sort | head -4; grep -c line d1/f1; grep -rL nothing . | wc -l
        sort -r d1/f1 | tail -2; awk '{ s += $2 } END { print s }' d1/f1; sed -i s/line/LINE/ d2/f2; head -1 d2/f2
        ls -R | md5sum; du -a --apparent-size d1 | wc -l; wc -l d1/* | tail -1; cp -a d1 copy; diff -r d1 copy && echo same
        mv copy moved; ln -s moved/f1 link; ln moved/f2 hard; stat -c '%h %F' hard link; readlink -f link | xargs basename; rm -rf moved; cat link
        touch -d 2001-02-03 old; stat -c %Y old; chmod 750 old; stat -c %a old; mktemp -p . tmp.XXXX | wc -c; xargs -n1 -P4 basename < names | sort
        dd if=/dev/zero of=big bs=64k count=16 2> /dev/null; stat -c %s big; truncate -s 10 big; wc -c < big; split -b 3 big part; ls part* | tr '\n' ' '
        test -w . && test -x /bin/sh && test -r /etc/passwd && echo access; id -u; realpath -m a/../b | xargs basename; sync; df . > /dev/null && echo df
    "#;
    let prepare = |dir: &Path| {
        for d in 0..5 {
            let sub = dir.join(format!("d{d}"));
            fs::create_dir_all(sub.join("empty")).expect("mkdir");
            for f in 0..20 {
                let lines: String = (0..10).map(|n| format!("line {n} of {f}\n")).collect();
                fs::write(sub.join(format!("f{f}")), lines).expect("write");
            }
        }
        fs::write(dir.join("names"), "a/one\nb/two\nc/three\n").expect("write");
    };
    same(&need(&["/bin/bash"])?, script, prepare, |job| {
        job.ignore_stderr()
    })
    .map(drop)
}

fn archives() -> Test {
    for tool in ["/usr/bin/tar", "/usr/bin/xz", "/usr/bin/gzip"] {
        need(&[tool, tool.trim_start_matches("/usr")])?;
    }
    let script = r#"
        umask 022; tar cf a.tar tree; tar tf a.tar | sort; tar czf a.tgz tree; tar cJf a.txz tree; for a in a.tgz a.txz; do mkdir x; tar xf $a -C x; diff -r tree x/tree && echo same; rm -r x; done
        gzip -9 < tree/big | gzip -d | cmp - tree/big && echo gzip; xz -T2 -k tree/big; xz -dc tree/big.xz | cmp - tree/big && echo xz
        mkdir y; tar xpf a.tar -C y; stat -c '%n %a %h %F' y/tree/* | sort; tar cf - tree | (mkdir z; cd z; tar xf -); ls z/tree | wc -l
    "#;
    let prepare = |dir: &Path| {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("sub")).expect("mkdir");
        let big: Vec<u8> = (0..400_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x3f)
            .collect();
        fs::write(tree.join("big"), big).expect("write");
        fs::write(tree.join("sub/small"), "small").expect("write");
        fs::write(tree.join("x"), "#!/bin/sh\n").expect("write");
        fs::set_permissions(tree.join("x"), fs::Permissions::from_mode(0o751)).expect("chmod");
        fs::set_permissions(tree.join("big"), fs::Permissions::from_mode(0o640)).expect("chmod");
        fs::hard_link(tree.join("x"), tree.join("hard")).expect("link");
        std::os::unix::fs::symlink("sub/small", tree.join("link")).expect("symlink");
    };
    same(&need(&["/bin/bash"])?, script, prepare, plain).map(drop)
}

/// A Python program in a file, run natively and in sbox.
fn python(program: &str) -> Test {
    let python = need(&["/usr/bin/python3"])?;
    let write = |dir: &Path| fs::write(dir.join("program.py"), program).expect("write");
    same(
        "/bin/sh",
        &format!("exec {python} program.py"),
        write,
        plain,
    )
    .map(drop)
}

fn python_basics() -> Test {
    python(
        r#"
import os, sys, json, pathlib, shutil, tempfile, glob, stat, hashlib, sqlite3, mmap, select, socket
p = pathlib.Path("d/e"); p.mkdir(parents=True); (p / "f").write_text("héllo")
print((p / "f").read_text(), sorted(os.listdir("d")), os.path.realpath("d/../d/e").endswith("d/e"))
shutil.copytree("d", "d2"); shutil.move("d2", "d3"); print(sorted(glob.glob("**/f", recursive=True)))
for root, dirs, files in os.walk("."): print(root, sorted(dirs), sorted(files))
with tempfile.TemporaryDirectory() as t: open(os.path.join(t, "x"), "w").write("t"); print(os.listdir(t))
with tempfile.TemporaryFile() as f: f.write(b"abc"); f.seek(0); print(f.read())
fd = os.open("d", os.O_RDONLY); print(os.listdir(fd), os.stat("e", dir_fd=fd).st_mode & 0o777 > 0); os.close(fd)
for bad in ("absent", "d/e/f/x"):
    try: open(bad)
    except OSError as e: print(type(e).__name__, e.errno)
try: os.rmdir("d3")
except OSError as e: print(e.errno)
os.symlink("f", "d/e/l"); print(os.readlink("d/e/l"), os.path.islink("d/e/l"), os.lstat("d/e/l").st_size)
os.chmod("d/e/f", 0o600); print(oct(os.stat("d/e/f").st_mode)); os.utime("d/e/f", (1, 2)); print(os.stat("d/e/f").st_mtime)
with open("m", "wb+") as f: f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); m[0:3] = b"map"; m.close(); f.seek(0); print(f.read(3))
a, b = socket.socketpair(); a.send(b"x"); print(select.select([b], [], [], 1)[0] == [b], b.recv(1))
print(sum(1 for e in os.scandir("/usr/bin") if e.is_file(follow_symlinks=False)) > 10, os.getcwd() == os.path.realpath("."))
db = sqlite3.connect("x.db"); db.execute("create table t(a)"); db.executemany("insert into t values(?)", [(i,) for i in range(100)]); db.commit()
print(db.execute("select sum(a) from t").fetchone()); print(os.get_terminal_size if False else len(os.environ) > 0, os.access("/etc/passwd", os.R_OK))
"#,
    )
}

fn python_subprocesses() -> Test {
    python(
        r#"
import subprocess, os, signal, sys
print(subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout)
print(subprocess.check_output("echo $0 | tr a-z A-Z; exit 0", shell=True, text=True))
try: subprocess.run(["/no/such/program"])
except FileNotFoundError as e: print("not found", e.errno)
try: subprocess.run(["sleep", "5"], timeout=0.2)
except subprocess.TimeoutExpired: print("timeout")
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE); print(p.communicate(b"x" * 300000)[0] == b"x" * 300000, p.returncode)
p = subprocess.Popen(["sleep", "9"]); p.send_signal(signal.SIGTERM); print(p.wait())
print([subprocess.call(["sh", "-c", f"exit {i}"]) for i in range(5)])
print(subprocess.run(["pwd", "-P"], cwd="/usr", capture_output=True, text=True).stdout, subprocess.run(["env"], env={"A": "1"}, capture_output=True).stdout)
procs = [subprocess.Popen(["sh", "-c", "sleep 0.05; echo done"], stdout=subprocess.PIPE) for _ in range(20)]
print(sum(p.communicate()[0] == b"done\n" for p in procs))
r, w = os.pipe(); os.set_inheritable(w, True)
subprocess.run(["sh", "-c", f"echo via >&{w}"], close_fds=False); print(os.read(r, 10))
pid = os.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "exit 6"])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])); pid = os.posix_spawn("/bin/true", ["true"], {}); print(os.waitpid(pid, 0)[1])
got = []; signal.signal(signal.SIGALRM, lambda *a: got.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while len(got) < 20: assert os.path.exists("/etc/passwd")
print("exists under a timer"); signal.setitimer(signal.ITIMER_REAL, 0)
"#,
    )
}

fn python_threads_and_processes() -> Test {
    python(
        r#"
import threading, multiprocessing, concurrent.futures, os, queue, time
def work(n): return sum(os.path.getsize("/etc/passwd") > 0 for _ in range(n))
def square(x): return x * x
def child(q): q.put(("child", os.getppid() > 0))
if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(16) as ex: print(sum(ex.map(work, [50] * 40)))
    lock, n = threading.Lock(), 0
    def bump():
        global n
        for _ in range(1000):
            with lock: n += 1
    ts = [threading.Thread(target=bump) for _ in range(8)]; [t.start() for t in ts]; [t.join() for t in ts]; print(n)
    for method in ("fork", "spawn", "forkserver"):
        ctx = multiprocessing.get_context(method)
        with ctx.Pool(3) as pool: print(method, pool.map(square, range(10)))
        q = ctx.Queue(); p = ctx.Process(target=child, args=(q,)); p.start(); print(q.get(timeout=30)); p.join(); print(p.exitcode)
    a, b = multiprocessing.Pipe(); a.send({"k": [1, 2]}); print(b.recv())
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=100); s.buf[0] = 7; u = shared_memory.SharedMemory(s.name); print(u.buf[0]); u.close(); s.close(); s.unlink()
"#,
    )
}

fn git_from_init_to_clone() -> Test {
    let git = need(&["/usr/bin/git", "/usr/local/bin/git"])?;
    let script = format!(
        r#"
        set -e; g() {{ {git} -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -c gc.auto=0 "$@"; }}
        export GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z' GIT_CONFIG_NOSYSTEM=1 TZ=UTC
        g init -q repo; cd repo; for i in 1 2 3 4 5; do mkdir -p d$i; for j in 1 2 3 4; do echo "$i $j" > d$i/f$j; done; g add -A; g commit -qm "commit $i"; done
        g log --format='%H %s %ad'; g status --short --branch; g checkout -qb side HEAD~2; echo side > side; g add side; g commit -qm side; g checkout -q main
        g merge -q -m merged side; g log --oneline --graph | wc -l; g diff --stat HEAD~1; g mv d1/f1 moved; g rm -q d2/f2; g stash -q; g stash pop -q; g status --short
        g commit -qam moves; g tag v1; g gc -q; g fsck 2>&1; cd ..; g clone -q repo copy 2>&1; cd copy; g log -1 --format=%H; g grep -c 5 | sort; g rev-parse HEAD^{{tree}}
        g bisect start HEAD HEAD~3 > /dev/null; g bisect reset > /dev/null 2>&1; echo more >> moved; g commit -qam more; g push -q origin HEAD:refs/heads/pushed; g -C ../repo branch; g archive HEAD | tar t | wc -l
        g worktree add -q ../wt side2 2> /dev/null || g worktree add -q -b side2 ../wt; ls ../wt | wc -l
        "#
    );
    same("/bin/bash", &script, empty, |job| job.ignore_stderr()).map(drop)
}

fn gcc_compiles_and_runs() -> Test {
    let gcc = need(&["/usr/bin/gcc"])?;
    let script = format!(
        "{gcc} -O2 -g -o hello hello.c && ./hello a b; echo $?; {gcc} -c hello.c && ar rc lib.a hello.o && nm lib.a | grep -c main; {gcc} -shared -fPIC -o libx.so x.c && {gcc} -o usex hello.c -L. -lx -Wl,-rpath,'$ORIGIN' -DX && ./usex; echo $?; {gcc} broken.c 2>&1 | grep -c error; strip hello && ./hello"
    );
    let prepare = |dir: &Path| {
        let hello = "#include <stdio.h>\n#ifdef X\nint x(void);\n#else\n#define x() 3\n#endif\nint main(int c, char **v) { printf(\"hello %d %s\\n\", c, c > 1 ? v[1] : \"\"); return x(); }\n";
        fs::write(dir.join("hello.c"), hello).expect("write");
        fs::write(dir.join("x.c"), "int x(void) { return 5; }\n").expect("write");
        fs::write(dir.join("broken.c"), "int main(void) { return nothing; }\n").expect("write");
    };
    // The last command exits with hello's 3.
    same("/bin/sh", &format!("{script}; test $? = 3"), prepare, plain).map(drop)
}

fn parallel_make() -> Test {
    let (make, _) = (need(&["/usr/bin/make"])?, need(&["/usr/bin/gcc"])?);
    let prepare = |dir: &Path| {
        let (mut main, mut calls) = (String::from("#include <stdio.h>\n"), String::new());
        for n in 0..20 {
            fs::write(
                dir.join(format!("f{n}.c")),
                format!(
                    "#include <stdlib.h>\n#include <string.h>\nint f{n}(void) {{ return {n}; }}\n"
                ),
            )
            .expect("write");
            main += &format!("int f{n}(void);\n");
            calls += &format!(" + f{n}()");
        }
        fs::write(
            dir.join("main.c"),
            format!("{main}int main(void) {{ printf(\"%d\\n\", 0{calls}); return 0; }}\n"),
        )
        .expect("write");
        let makefile = "OBJS := main.o $(patsubst %,f%.o,$(shell seq 0 19))\nprog: $(OBJS)\n\tgcc -o $@ $^\n%.o: %.c\n\tgcc -O1 -c $< -o $@\nclean:\n\trm -f prog *.o\n";
        fs::write(dir.join("Makefile"), makefile).expect("write");
    };
    let script = format!(
        "{make} -s -j4 && ./prog && {make} -q && echo up to date; touch f3.c; {make} -j4 | sort; {make} -s clean; ls | wc -l"
    );
    same("/bin/sh", &script, prepare, plain).map(drop)
}

/// A toolchain that this user can run: by the variables of rustup, or in the home directory.
fn toolchain() -> Result<(PathBuf, PathBuf), Skip> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let or_home = |variable: &str, name: &str| {
        std::env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from)
    };
    let (cargo, rustup) = (
        or_home("CARGO_HOME", ".cargo"),
        or_home("RUSTUP_HOME", ".rustup"),
    );
    if cargo.join("bin/cargo").exists() && rustup.join("toolchains").exists() {
        return Ok((cargo, rustup));
    }
    Err(Skip(format!("no cargo in {}", cargo.display())))
}

fn cargo_builds_a_crate() -> Test {
    let (cargo, rustup) = toolchain()?;
    let prepare = |dir: &Path| {
        fs::create_dir(dir.join("src")).expect("mkdir");
        fs::write(
            dir.join("Cargo.toml"),
            "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        )
        .expect("write");
        fs::write(
            dir.join("src/lib.rs"),
            "pub fn two() -> u32 { 2 }\n#[test]\nfn is_two() { assert_eq!(two(), 2); }\n",
        )
        .expect("write");
        fs::write(
            dir.join("src/main.rs"),
            "fn main() { println!(\"{}\", small::two() + 40); }\n",
        )
        .expect("write");
    };
    let (c, r) = (cargo.display().to_string(), rustup.display().to_string());
    let adjust = |job: Job| {
        let job = job.flags(["--ro", &c, "--ro", &r]).env("RUSTUP_HOME", &r);
        job.env(
            "RUSTUP_TOOLCHAIN",
            &std::env::var("RUSTUP_TOOLCHAIN").unwrap_or("stable".into()),
        )
        .limit_secs(300)
    };
    let script = format!(
        "export PATH={c}/bin:$PATH RUSTFLAGS= CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu; cargo run -q --offline && cargo test -q --offline 2>&1 | grep -c '1 passed'; ls target/*/debug/small"
    );
    same("/bin/sh", &script, prepare, adjust).map(drop)
}

fn sqlite_with_write_ahead_log() -> Test {
    let sqlite = need(&["/usr/bin/sqlite3"])?;
    let script = format!(
        r#"
        {sqlite} x.db 'pragma journal_mode=wal; create table t(a integer primary key, b text);'
        for i in 1 2 3 4; do (for j in 1 2 3 4 5; do {sqlite} -cmd '.timeout 20000' x.db "insert into t(b) values('$i $j')"; done) & done; wait
        {sqlite} x.db "select count(*), count(distinct b) from t; pragma integrity_check; pragma wal_checkpoint(truncate);"
        {sqlite} x.db "with recursive n(i) as (select 1 union all select i+1 from n where i < 5000) insert into t(b) select i from n; select sum(length(b)) from t; vacuum;"
        {sqlite} y.db '.timeout 1000' 'pragma journal_mode=delete; create table u(a); insert into u values(1);' 'attach "x.db" as x; select count(*) from x.t; create table v as select a from x.t limit 3;' 'select * from v;'
        ls
        "#
    );
    same("/bin/bash", &script, empty, plain).map(drop)
}

fn node_reads_and_spawns() -> Test {
    let node = need(&["/usr/bin/node", "/usr/local/bin/node"])?;
    let program = r#"
const fs = require('fs'), cp = require('child_process'), path = require('path'), { Worker } = require('worker_threads');
fs.mkdirSync('a/b', { recursive: true }); fs.writeFileSync('a/b/c', 'text'); console.log(fs.readFileSync('a/b/c', 'utf8'), fs.readdirSync('a'));
try { fs.readFileSync('absent'); } catch (e) { console.log(e.code); }
console.log(cp.execSync('echo sync').toString(), cp.spawnSync('sh', ['-c', 'exit 4']).status);
(async () => {
  await Promise.all(Array.from({ length: 100 }, (_, i) => fs.promises.writeFile('a/' + i, String(i))));
  const all = await Promise.all((await fs.promises.readdir('a')).filter(n => /^\d+$/.test(n)).map(n => fs.promises.readFile('a/' + n, 'utf8')));
  console.log(all.length, all.reduce((s, x) => s + Number(x), 0), (await fs.promises.stat('a')).isDirectory());
  const child = cp.spawn('cat'); let got = ''; child.stdout.on('data', d => got += d); child.stdin.end('x'.repeat(100000));
  await new Promise(r => child.on('close', r)); console.log(got.length);
  const w = new Worker("require('worker_threads').parentPort.postMessage(require('fs').existsSync('/etc/passwd'))", { eval: true });
  console.log(await new Promise(r => w.on('message', r))); fs.rmSync('a', { recursive: true }); console.log(fs.existsSync('a'));
})();
"#;
    let write = |dir: &Path| fs::write(dir.join("program.js"), program).expect("write");
    same("/bin/sh", &format!("exec {node} program.js"), write, plain).map(drop)
}

fn perl_does_its_things() -> Test {
    let perl = need(&["/usr/bin/perl"])?;
    let program = r#"
use strict; use warnings; use File::Find; use File::Temp; use IO::Socket::UNIX; use POSIX;
mkdir 'd' or die; open(my $f, '>', 'd/f') or die; print $f "line $_\n" for 1..10; close $f; open($f, '<', 'd/f'); my @l = <$f>; print scalar(@l), "\n";
my @found; find(sub { push @found, $File::Find::name if -f }, '.'); print join(' ', sort @found), "\n"; print `echo backticks`; print system('exit 3') >> 8, "\n";
open(my $p, '-|', 'sort -r', ) or die; close $p; my $pid = fork; if (!$pid) { exit 5 } waitpid $pid, 0; print $? >> 8, "\n"; print -e 'absent' ? 1 : 0, $!{ENOENT} ? 1 : 0, "\n";
my $s = IO::Socket::UNIX->new(Local => 's', Listen => 1) or die; if (!fork) { my $c = IO::Socket::UNIX->new('s'); print $c "via socket\n"; exit } print $s->accept->getline; wait;
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; POSIX::pause(); rename 'd/f', 'g'; print -s 'g', "\n"; my @s = stat 'g'; print $s[3], "\n"; unlink 'g'; print join(',', glob('*')), "\n"; print getcwd() =~ m{/t-} ? 1 : 0, "\n";
"#;
    let write = |dir: &Path| fs::write(dir.join("program.pl"), program).expect("write");
    same(
        "/bin/sh",
        &format!("exec {perl} program.pl < /dev/null"),
        write,
        plain,
    )
    .map(drop)
}

fn processors_are_counted() -> Test {
    support::need(&["/usr/bin/lscpu"])?;
    let script = "nproc; nproc --all; getconf _NPROCESSORS_CONF; getconf _NPROCESSORS_ONLN; \
        lscpu | grep -v MHz; cat /sys/devices/system/cpu/possible";
    same("/bin/sh", script, empty, plain)?;
    let write = "echo add > /sys/devices/system/cpu/uevent";
    let output = Job::sh(write).sandboxed()?;
    assert_ne!(output.code(), Some(0), "{}", output.all());
    Ok(())
}
