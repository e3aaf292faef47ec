//! What the rows work on: trees, and layers that have changed them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::measure;

/// Files of the tree that is looked at.
pub(crate) const FEW: usize = 100;
/// Names in the upper of a full layer.
pub(crate) const MANY: usize = 10_000;

pub(crate) struct Trees {
    base: tempfile::TempDir,
}

impl Trees {
    pub(crate) fn build() -> Fallible<Self> {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent)?;
        let trees = Self {
            base: tempfile::Builder::new()
                .prefix("mounts-")
                .tempdir_in(parent)?,
        };
        for dir in ["scratch", "state", "out"] {
            fs::create_dir(trees.path(dir))?;
        }
        compile(&trees.path("micro"))?;
        fill(&trees.path("tree/dir"), "file", 0..FEW)?;
        for (all, name) in [(10_000, "10000"), (100_000, "100000")] {
            fill(&trees.path(&format!("whole-{name}")), "entry", 0..all)?;
            fill(&trees.path(&format!("half-{name}")), "entry", 0..all / 2)?;
            let script = format!("seq -f 'entry%06.0f' {} {} | xargs touch", all / 2, all - 1);
            trees.change(&format!("half-{name}"), "half", &script)?;
        }
        trees.change(
            "tree",
            "full",
            &format!("cd dir; seq -f 'new%06.0f' {MANY} | xargs touch"),
        )?;
        trees.make_big()?;
        trees.make_sources()?;
        Ok(trees)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// sbox with its layers kept here, its own messages off.
    pub(crate) fn sbox(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sbox"));
        command
            .args(["run", "-q", "--bind"])
            .arg(format!("{0}:{0}:ro", self.path("micro").display()))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("XDG_STATE_HOME", self.path("state"));
        command
    }

    /// Has a layer of `tree` change it by a shell script.
    fn change(&self, tree: &str, layer: &str, script: &str) -> Fallible<()> {
        let mut command = self.sbox();
        let mut flag = self.path(tree).into_os_string();
        flag.push(format!("={layer}-{tree}"));
        command
            .arg("--cow")
            .arg(flag)
            .arg("--cwd")
            .arg(self.path(tree));
        command.args(["--", "sh", "-ec", script]);
        measure::run(command, &self.path("scratch"))?.succeeded()
    }

    /// A file of 1 GiB that is no hole.
    fn make_big(&self) -> Fallible<()> {
        fs::create_dir(self.path("big"))?;
        let chunk: Vec<u8> = (0..1 << 20)
            .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut file = fs::File::create(self.path("big/file"))?;
        for _ in 0..1024 {
            std::io::Write::write_all(&mut file, &chunk)?;
        }
        // Not while it is written back that it is copied.
        Ok(file.sync_all()?)
    }

    /// An archive of C sources, and where to unpack it.
    fn make_sources(&self) -> Fallible<()> {
        let dir = self.path("project");
        fs::create_dir(&dir)?;
        for i in 0..20 {
            let text = format!(
                "#include <stdio.h>\n#include <stdlib.h>\nint part{i}(void) {{ return printf(\"{i}\\n\"); }}\n"
            );
            fs::write(dir.join(format!("part{i}.c")), text)?;
            fill(&dir.join(format!("data{i}")), "text", 0..50)?;
        }
        let calls: String = (0..20).map(|i| format!("part{i}();")).collect();
        let declared: String = (0..20).map(|i| format!("int part{i}(void);\n")).collect();
        fs::write(
            dir.join("main.c"),
            format!("{declared}int main(void) {{ {calls} return 0; }}\n"),
        )?;
        let makefile = "SRC := $(wildcard *.c)\nprogram: $(SRC:.c=.o)\n\tcc -o $@ $^\n";
        fs::write(dir.join("Makefile"), makefile)?;
        let mut tar = Command::new("tar");
        tar.arg("-cf")
            .arg(self.path("project.tar"))
            .arg("-C")
            .arg(&dir)
            .arg(".");
        measure::run(tar, &self.path("scratch"))?.succeeded()
    }
}

fn fill(dir: &Path, stem: &str, numbers: std::ops::Range<usize>) -> Fallible<()> {
    fs::create_dir_all(dir)?;
    for n in numbers {
        fs::write(dir.join(format!("{stem}{n:06}")), "content\n")?;
    }
    Ok(())
}

fn compile(to: &Path) -> Fallible<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/guests/bench/micro.c");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-o"]).arg(to).arg(source);
    let status = cc.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("cc: {status}").into()),
    }
}
