//! The smallest rule that would allow what was refused.

use super::Incident;
use crate::plain;
use crate::policy::files::{Effect, letters};
use crate::policy::glob;
use crate::policy::lang::Sheets;
use crate::policy::{Access, RuleId};

/// What to write where, in the words of the policy, or of the flags where there is none.
pub(super) fn smallest(sheets: Option<&Sheets>, incident: &Incident<'_>) -> Option<String> {
    let Some(access) = incident.wanted else {
        return sheets.map(|sheets| {
            let is =
                |id: Option<RuleId>| id.is_some_and(|id| incident.by == Some(&sheets.tell(id)));
            if is(sheets.signals().1) {
                "[proc] signal = \"own\"".into()
            } else if sheets.all.iter().any(|sheet| is(sheet.net.by)) {
                "[net] inet = \"allow\"".into()
            } else {
                format!("[syscalls] \"{}\" = \"allow\"", incident.call)
            }
        });
    };
    let path = String::from_utf8(incident.path?.to_vec()).ok()?;
    let Some(sheets) = sheets else {
        let reads = Access::READ_ONLY.has(access);
        let flag = if reads { "--ro" } else { "--rw" };
        return Some(format!("{flag} {}", path.escape_debug()));
    };
    // The rules of the policy come first; where they allow it, it is a ceiling that doesn't.
    for (number, sheet) in sheets.all.iter().enumerate() {
        let whose = if number == 0 { "" } else { "in its ceiling: " };
        let key = plain::toml(&glob::escape(&path));
        let files = sheet.files.decide(path.as_bytes());
        let forbidden = |rules: &crate::policy::files::Files| {
            let all = rules.candidates(path.as_bytes());
            all.iter().any(|candidate| candidate.rule.forbid)
        };
        if !files.effect.granted().has(access) {
            if forbidden(&sheet.files) {
                return Some("none: what [forbid] lists no rule opens again".into());
            }
            let held = match files.effect {
                Effect::Grant(held) => held,
                _ => Access::NONE,
            };
            let needed = held.and(access).and(Access::LOOK);
            // Of what isn't shown nobody knows what more was wanted.
            let looks = needed == Access::LOOK;
            let needed = if looks { "r".into() } else { rights(needed) };
            return Some(format!("{whose}[files] {key} = \"{needed}\""));
        }
        let program = sheet.exec.decide(path.as_bytes());
        let (exec, _) = program.effect.of_program();
        let limited = access.has(Access::EXEC) && sheets.argument_rules(&program).next().is_some();
        if limited || !exec.granted().has(access) {
            return Some(format!("{whose}[exec] {key} = \"allow\""));
        }
    }
    None
}

/// Rights in the letters of the language; `rw` and `rwx` are words that mean more than their letters. Beside others there is no letter
/// for listing alone.
pub fn rights(access: Access) -> String {
    let only = Access::LOOK.and(Access::LIST);
    let access = match access.has(Access::LIST) && !only.has(access) {
        true => access.and(Access::READ),
        false => access,
    };
    match letters(access) {
        all if all == "rw" => "wr".into(),
        all if all == "rwx" && !access.has(Access::CREATE) => "rxw".into(),
        all if all == "rwcdm" => "rw".into(),
        all if all == "rwcdxm" => "rwx".into(),
        all => all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::files::LETTERS;
    use crate::policy::lang::rights_of;

    #[test]
    fn what_is_written_grants_what_was_meant() {
        for which in 0..1u32 << (LETTERS.len() + 1) {
            let least = match which & 1 {
                0 => Access::LOOK,
                _ => Access::LOOK.and(Access::LIST),
            };
            let chosen = LETTERS.iter().enumerate();
            let chosen = chosen.filter(|(at, _)| which >> (at + 1) & 1 == 1);
            let access = chosen.fold(least, |all, (_, (_, one))| all.and(*one));
            let written = rights(access);
            let read = rights_of(&written).unwrap();
            assert!(read.has(access), "{written}: {access}, {read}");
            // No letter stands for listing alone.
            let more = Access::LIST.and(Access::READ);
            assert!(more.has(read.without(access)), "{written}: {access}");
        }
    }
}
