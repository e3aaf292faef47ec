//! What a policy's variables stand for on this machine.

use crate::policy::lang::World;
use std::env;

/// `NAME=VALUE`
pub(in crate::cli) fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.into(), value.into()))
        }
        _ => Err("wanted NAME=VALUE".into()),
    }
}

/// The variables of every policy.
pub fn world(set: &[(String, String)]) -> World {
    let path = |path: std::path::PathBuf| path.to_str().map(str::to_owned);
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let own = [
        ("cwd", env::current_dir().ok().and_then(path)),
        ("home", env::home_dir().and_then(path)),
        ("tmp", Some("/tmp".into())),
        ("user", user.map(|user| user.name)),
        ("uid", Some(uid.to_string())),
    ];
    World {
        own: own
            .into_iter()
            .map(|(name, value)| (name, value.unwrap_or_default()))
            .collect(),
        set: set.to_vec(),
        // What is no text can't be said in a policy either.
        env: env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    }
}
