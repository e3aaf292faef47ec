//! The policies that are compared, and what is run under them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::measure;

const FEW: usize = 10;
const MANY: usize = 10_000;
const STATS: u64 = 4000;

/// One of few rules, one of many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sizes<T> {
    pub(crate) few: T,
    pub(crate) many: T,
}

impl<T> Sizes<T> {
    pub(crate) fn of(&mut self, many: bool) -> &mut T {
        match many {
            true => &mut self.many,
            false => &mut self.few,
        }
    }
}

/// How the rules of a policy look.
pub(crate) struct Form {
    pub(crate) name: &'static str,
    /// `DIR` is the directory that is shown, `N` the number of the rule.
    pattern: &'static str,
    says: &'static str,
}

const fn form(name: &'static str, pattern: &'static str, says: &'static str) -> Form {
    Form {
        name,
        pattern,
        says,
    }
}

pub(crate) const FORMS: [Form; 7] = [
    form("`hide` of one file each", "DIR/fileN", "hide"),
    form("`r` of one file each", "DIR/fileN", "r"),
    form("`hide` of one tree each", "DIR/dirN/**", "hide"),
    form("`hide` below missing directories", "DIR/noN/f", "hide"),
    form("`hide` of `/w/*/NAME*`", "DIR/*/nameN*", "hide"),
    form("`hide` of `/w/**/NAME/x`", "DIR/**/nameN/x", "hide"),
    form("`hide` of `**/NAME`", "**/nameN", "hide"),
];

pub(crate) struct Policies {
    base: tempfile::TempDir,
}

impl Policies {
    pub(crate) fn build() -> Fallible<Self> {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent)?;
        let parent = fs::canonicalize(parent)?;
        let policies = Self {
            base: tempfile::Builder::new()
                .prefix("rules-")
                .tempdir_in(parent)?,
        };
        for dir in ["scratch", "w"] {
            fs::create_dir(policies.path(dir))?;
        }
        fs::write(policies.path("w/there"), "")?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/guests/bench/micro.c");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-o"])
            .arg(policies.path("w/micro"))
            .arg(source);
        let status = cc.status()?;
        if !status.success() {
            return Err(format!("cc: {status}").into());
        }
        for (which, form) in FORMS.iter().enumerate() {
            for rules in [FEW, MANY] {
                let text = policies.text(form, rules)?;
                fs::write(policies.path(&format!("{which}-{rules}.toml")), text)?;
            }
        }
        Ok(policies)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn text(&self, form: &Form, rules: usize) -> Fallible<String> {
        let dir = self.path("w");
        let dir = dir
            .to_str()
            .ok_or("the target directory's name is no text")?;
        let mut text = format!("sbox = 1\nextends = \"std/cli\"\n[files]\n\"{dir}/**\" = \"rx\"\n");
        for n in 0..rules {
            // In this order: the directory's name may have an N.
            let pattern = form.pattern.replace('N', &n.to_string());
            let pattern = pattern.replace("DIR", dir);
            writeln!(text, "\"{pattern}\" = \"{}\"", form.says)?;
        }
        Ok(text)
    }

    fn sbox(&self, form: &Form, many: bool) -> Fallible<Command> {
        let which = FORMS.iter().position(|other| other.name == form.name);
        let which = which.ok_or("no such form")?;
        let rules = if many { MANY } else { FEW };
        let mut command = Command::new(env!("CARGO_BIN_EXE_sbox"));
        command
            .args(["run", "-q", "--cwd", "/", "--policy"])
            .arg(self.path(&format!("{which}-{rules}.toml")))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("XDG_STATE_HOME", self.path("scratch"))
            .arg("--");
        Ok(command)
    }

    /// Starts `true`: time and processor time, in nanoseconds.
    pub(crate) fn start(&self, form: &Form, many: bool) -> Fallible<(f64, f64)> {
        let mut command = self.sbox(form, many)?;
        command.arg("/bin/true");
        let outcome = measure::run(command, &self.path("scratch"))?;
        outcome.succeeded()?;
        Ok((outcome.wall_ns, outcome.cpu_ns))
    }

    /// `stat` of a file that is shown, by the program's own clock, in nanoseconds for one call.
    pub(crate) fn stat(&self, form: &Form, many: bool) -> Fallible<f64> {
        let mut command = self.sbox(form, many)?;
        command.arg(self.path("w/micro"));
        command.arg("stat").arg(STATS.to_string());
        command.arg(self.path("w/there"));
        let outcome = measure::run(command, &self.path("scratch"))?;
        outcome.succeeded()?;
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let word = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("ns_per_call="));
        Ok(word.ok_or("no report line")?.parse()?)
    }
}
