//! Reads Docker's and the OCI's JSON.
//!
//! The OCI's runtime-spec has the names (config-linux.md, Seccomp), moby the rest: `archMap`, `includes` and `excludes`. What isn't
//! specified is as runc does it, by libseccomp(3): several tests of one argument in an entry are alternatives, and an
//! entry without tests beats those with.

use super::json::{Json, Object};
use super::{Action, Cond, Format, Host, Op, Profile, Remark, Rule, Weight};
use crate::policy::lang::{Fault, Source, Sources, Where};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

const TOP: [&str; 8] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const ENTRY: [&str; 8] = [
    "names", "name", "action", "errnoRet", "args", "comment", "includes", "excludes",
];
/// Of these, what the OCI doesn't know.
const DOCKER: [&str; 4] = ["archMap", "comment", "includes", "excludes"];
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// Reads a profile.
pub(super) fn read(
    name: &str,
    text: String,
    format: Format,
    host: &Host<'_>,
) -> Result<Profile, (Vec<Fault>, Sources)> {
    let sources = Sources(vec![Source::new(name.to_owned(), text)]);
    let text = sources.0.first().map_or("", |source| source.text.as_str());
    let mut reader = Reader {
        json: Json::new(text),
        docker: format == Format::Docker,
        host,
        rules: Vec::new(),
        remarks: Vec::new(),
    };
    match reader.profile() {
        Ok((default, default_at)) => {
            let (rules, remarks) = (reader.rules, reader.remarks);
            Ok(Profile {
                sources,
                format,
                default,
                default_at,
                rules,
                remarks,
            })
        }
        Err(fault) => Err((vec![fault], sources)),
    }
}

/// Capabilities, machines and the least kernel of `includes` or `excludes`.
type Conditions = (Vec<String>, Vec<String>, Option<(u64, u64)>);

struct Reader<'r> {
    json: Json<'r>,
    /// Keys that only Docker knows mean something.
    docker: bool,
    host: &'r Host<'r>,
    rules: Vec<Rule>,
    remarks: Vec<Remark>,
}

impl<'r> Reader<'r> {
    fn profile(&mut self) -> Result<(Action, Where), Fault> {
        let whole = self.json.whole()?;
        let mut raw = whole;
        // A config.json has it in `linux.seccomp`.
        if let Some(linux) = self.json.any_object(whole)?.get("linux") {
            raw = self.json.any_object(linux)?.get("seccomp").ok_or_else(|| {
                Fault::at(
                    self.json.at(linux),
                    "there is no 'seccomp' in this config.json",
                )
                .hint("without one a container may make every call: nothing is to be imported")
            })?;
        }
        let top = self.json.object(raw, &self.known(&TOP))?;
        let Some(default) = top.get("defaultAction") else {
            return Err(Fault::at(self.json.at(raw), "'defaultAction' is missing")
                .hint("\"defaultAction\": \"SCMP_ACT_ERRNO\", for instance"));
        };
        let default_at = self.json.at(default);
        let action = self.action(default, top.get("defaultErrnoRet"))?;
        self.architectures(&top)?;
        for (key, what) in [
            (
                "flags",
                "flags of the filter's installation have no counterpart",
            ),
            ("listenerPath", "sbox asks no other program for answers"),
            ("listenerMetadata", "sbox asks no other program for answers"),
        ] {
            if let Some(raw) = top.get(key)
                && raw.get() != "[]"
                && raw.get() != "\"\""
            {
                self.remark(Weight::Note, self.json.at(raw), format!("{key}: {what}"));
            }
        }
        if let Some(list) = top.get("syscalls") {
            for entry in self.json.list(list)? {
                self.entry(entry)?;
            }
        }
        Ok((action, default_at))
    }

    /// Keys that have a meaning. A runtime would pass over the others, and with them the conditions of an entry.
    fn known(&self, keys: &[&'static str]) -> Vec<&'static str> {
        let own = |key: &&&str| self.docker || !DOCKER.contains(key);
        keys.iter().filter(own).copied().collect()
    }

    fn remark(&mut self, weight: Weight, at: Where, what: impl Into<String>) {
        self.remarks.push(Remark::new(weight, at, what));
    }

    fn text(&self, raw: &RawValue) -> Result<String, Fault> {
        self.json.value(raw, "a text in quotes")
    }

    fn texts(&self, raw: &'r RawValue) -> Result<Vec<(String, Where)>, Fault> {
        let all = self.json.list(raw)?.into_iter();
        all.map(|one| Ok((self.text(one)?, self.json.at(one))))
            .collect()
    }

    fn number(&self, raw: &RawValue) -> Result<u64, Fault> {
        self.json
            .value(raw, "a whole number from 0 to 18446744073709551615")
    }

    /// An action, with its errno or EPERM.
    fn action(&self, raw: &RawValue, errno: Option<&RawValue>) -> Result<Action, Fault> {
        let number = errno.map(|raw| self.number(raw)).transpose()?;
        let word = self.text(raw)?;
        Ok(match word.as_str() {
            "SCMP_ACT_ALLOW" => Action::Allow,
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_ERRNO" => Action::Errno(number.unwrap_or(1)),
            "SCMP_ACT_TRAP" => Action::Trap,
            // seccomp(2): what was once the only way to kill ends the thread.
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_TRACE" => Action::Trace,
            "SCMP_ACT_NOTIFY" => Action::Notify,
            _ => {
                return Err(
                    Fault::at(self.json.at(raw), format!("'{word}' is no action"))
                        .nearest(&word, ACTIONS),
                );
            }
        })
    }

    /// sbox runs x86-64 programs, and refuses calls by other tables.
    fn architectures(&mut self, top: &Object<'r>) -> Result<(), Fault> {
        let mut all = Vec::new();
        if let Some(raw) = top.get("architectures") {
            all.extend(self.texts(raw)?);
        }
        let maps = top.get("archMap").map(|raw| self.json.list(raw));
        for raw in maps.transpose()?.unwrap_or_default() {
            let map = self
                .json
                .object(raw, &["architecture", "subArchitectures"])?;
            let Some(name) = map.get("architecture") else {
                return Err(Fault::at(self.json.at(raw), "'architecture' is missing"));
            };
            let name_text = self.text(name)?;
            // Docker takes the entry of the machine that it runs on.
            if name_text == "SCMP_ARCH_X86_64" {
                all.push((name_text, self.json.at(name)));
                let subs = map.get("subArchitectures").map(|raw| self.texts(raw));
                all.extend(subs.transpose()?.unwrap_or_default());
            }
        }
        for (name, at) in all {
            if ["SCMP_ARCH_X86", "SCMP_ARCH_X32"].contains(&name.as_str()) {
                let what = format!(
                    "{name}: sbox refuses all calls by the tables of i386 and x32 (ENOSYS)"
                );
                self.remark(Weight::Stricter, at, what);
            } else if name != "SCMP_ARCH_X86_64" {
                let what =
                    format!("{name}: sbox runs x86-64 programs only, so this changes nothing");
                self.remark(Weight::Note, at, what);
            }
        }
        Ok(())
    }

    fn entry(&mut self, raw: &'r RawValue) -> Result<(), Fault> {
        let entry = self.json.object(raw, &self.known(&ENTRY))?;
        let at = self.json.at(raw);
        let names = match (entry.get("names"), entry.get("name")) {
            (Some(names), None) => self.texts(names)?,
            (None, Some(name)) => vec![(self.text(name)?, self.json.at(name))],
            (Some(_), Some(_)) => {
                return Err(Fault::at(at, "both 'names' and 'name'").hint("keep 'names'"));
            }
            (None, None) => return Err(Fault::at(at, "'names' is missing")),
        };
        let Some(action) = entry.get("action") else {
            return Err(Fault::at(at, "'action' is missing").hint("\"action\": \"SCMP_ACT_ALLOW\""));
        };
        let action = self.action(action, entry.get("errnoRet"))?;
        let mut conditions = Vec::new();
        if let Some(args) = entry.get("args") {
            for raw in self.json.list(args)? {
                conditions.push(self.condition(raw)?);
            }
        }
        let args: BTreeSet<usize> = conditions.iter().map(|cond| cond.arg).collect();
        let when = match conditions.len() {
            0 => None,
            count if count > args.len() => {
                let what = "tests of one argument in one entry are alternatives, as runc takes them: one \
                            of all the entry's tests must hold";
                self.remark(Weight::Note, at, what);
                Some(conditions.into_iter().map(|cond| vec![cond]).collect())
            }
            _ => Some(vec![conditions]),
        };
        if let Some(why) = self.left_out(&entry)? {
            let list: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            let what = format!("left out, as {why}: {}", list.join(", "));
            self.remark(Weight::Note, at, what);
            return Ok(());
        }
        let rule = |(call, at)| Rule {
            call,
            at,
            action,
            when: when.clone(),
        };
        self.rules.extend(names.into_iter().map(rule));
        Ok(())
    }

    fn condition(&self, raw: &'r RawValue) -> Result<Cond, Fault> {
        let arg = self
            .json
            .object(raw, &["index", "value", "valueTwo", "op"])?;
        let member = |key: &str| {
            arg.get(key)
                .ok_or_else(|| Fault::at(self.json.at(raw), format!("'{key}' is missing")))
        };
        let (index, word) = (member("index")?, member("op")?);
        let (value, op) = (self.number(member("value")?)?, self.text(word)?);
        let second = arg.get("valueTwo").map(|raw| self.number(raw));
        let second = second.transpose()?.unwrap_or(0);
        let number = self.number(index)?;
        let number = usize::try_from(number).ok().filter(|number| *number < 6);
        let Some(number) = number else {
            return Err(Fault::at(
                self.json.at(index),
                "a call has arguments 0 to 5",
            ));
        };
        let (op, value) = match op.as_str() {
            "SCMP_CMP_NE" => (Op::Ne, value),
            "SCMP_CMP_LT" => (Op::Lt, value),
            "SCMP_CMP_LE" => (Op::Le, value),
            "SCMP_CMP_EQ" => (Op::Eq, value),
            "SCMP_CMP_GE" => (Op::Ge, value),
            "SCMP_CMP_GT" => (Op::Gt, value),
            "SCMP_CMP_MASKED_EQ" => (Op::Masked(value), second),
            _ => {
                let fault = Fault::at(self.json.at(word), format!("'{op}' is no comparison"));
                return Err(fault.nearest(&op, OPS));
            }
        };
        Ok(Cond {
            arg: number,
            op,
            value,
        })
    }

    /// Why `includes` or `excludes` leave an entry out: programs in sbox have no capabilities, and are of this machine and kernel.
    fn left_out(&self, entry: &Object<'r>) -> Result<Option<String>, Fault> {
        const KEYS: [&str; 3] = ["caps", "arches", "minKernel"];
        let of = |key: &str| -> Result<Conditions, Fault> {
            let Some(raw) = entry.get(key) else {
                return Ok((Vec::new(), Vec::new(), None));
            };
            let filter = self.json.object(raw, &KEYS)?;
            let words = |key: &str| -> Result<Vec<String>, Fault> {
                let texts = filter.get(key).map(|raw| self.texts(raw)).transpose()?;
                Ok(texts.into_iter().flatten().map(|(text, _)| text).collect())
            };
            let kernel = filter.get("minKernel").map(|raw| self.kernel(raw));
            Ok((words("caps")?, words("arches")?, kernel.transpose()?))
        };
        let ours = |arch: &String| arch == "amd64" || arch == "x86_64";
        let newer = |kernel: (u64, u64)| self.host.kernel >= kernel;
        let (caps, arches, kernel) = of("includes")?;
        if let Some(cap) = caps.first() {
            return Ok(Some(format!("no program in sbox has {cap}")));
        }
        if !arches.is_empty() && !arches.iter().any(ours) {
            return Ok(Some(format!("it is for {}", arches.join(", "))));
        }
        if let Some((major, minor)) = kernel.filter(|kernel| !newer(*kernel)) {
            return Ok(Some(format!("it is for kernels from {major}.{minor} on")));
        }
        let (_, arches, kernel) = of("excludes")?;
        if arches.iter().any(ours) {
            return Ok(Some("it is for machines other than this".into()));
        }
        if let Some((major, minor)) = kernel.filter(|kernel| newer(*kernel)) {
            return Ok(Some(format!("it is for kernels before {major}.{minor}")));
        }
        Ok(None)
    }

    fn kernel(&self, raw: &RawValue) -> Result<(u64, u64), Fault> {
        let text = self.text(raw)?;
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parsed.ok_or_else(|| {
            Fault::at(self.json.at(raw), format!("'{text}' is no kernel version"))
                .hint("a major and a minor number, as in \"4.8\"")
        })
    }
}
