//! `sbox policy schema`: the language for editors, as JSON Schema.

use super::read::SECTIONS;
use std::fmt::Write as _;

/// The schema, made from the same table of sections that the reader uses.
pub fn schema() -> String {
    const RULE: &str = r##"{ "anyOf": [{ "type": "string" }, { "type": "object", "anyOf": [{ "required": ["do"] }, { "required": ["fake"] }], "additionalProperties": false, "properties": { "do": { "type": "string" }, "fake": { "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }] }, "errno": { "type": "string" }, "log": { "type": "boolean" }, "why": { "type": "string" }, "id": { "type": "string" } } }] }"##;
    const MOUNT: &str = r##"{ "type": "object", "additionalProperties": false, "properties": { "cow": { "type": "string" }, "bind": { "type": "string" }, "ro": { "type": "boolean" }, "tmpfs": { "type": "string" }, "text": { "type": "string" } } }"##;
    const TEXTS: &str = r##"{ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] }"##;
    const FORBIDDEN: &str = r##"{ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "object", "required": ["what"], "additionalProperties": false, "properties": { "what": { "type": "string" }, "do": { "const": "kill" }, "why": { "type": "string" }, "id": { "type": "string" } } }] } }] }"##;
    const STARTS: &str = r##"{ "type": "object", "anyOf": [{ "required": ["args"] }, { "required": ["policy"] }], "additionalProperties": false, "properties": { "args": { "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "array", "items": { "type": "array", "items": { "type": "string" } } }] }, "policy": { "type": "string" }, "log": { "type": "boolean" }, "why": { "type": "string" }, "id": { "type": "string" } } }"##;
    let exec = format!("{{ \"anyOf\": [{RULE}, {STARTS}] }}");
    let mut properties = Vec::new();
    let mut mounts = String::new();
    for section in &SECTIONS {
        let inner = match (section.name, section.keys) {
            ("", Some(keys)) => {
                for key in keys {
                    let of = match *key {
                        "sbox" => r#"{ "const": 1 }"#,
                        "extends" | "within" => TEXTS,
                        _ => r#"{ "type": "string" }"#,
                    };
                    properties.push(format!("    \"{key}\": {of}"));
                }
                continue;
            }
            (_, Some(keys)) => {
                let mut all: Vec<String> = Vec::new();
                for key in keys {
                    let of = match (section.name, *key) {
                        ("env", "set") => {
                            r#"{ "type": "object", "additionalProperties": { "type": "string" } }"#
                        }
                        ("env", _) => TEXTS,
                        ("forbid", _) => FORBIDDEN,
                        _ => r#"{ "type": "string" }"#,
                    };
                    all.push(format!("\"{key}\": {of}"));
                }
                if section.name == "view" {
                    all.push("\"mounts\": @MOUNTS@".into());
                }
                format!(
                    "{{ \"type\": \"object\", \"description\": \"{}\", \"additionalProperties\": false, \"properties\": {{ {} }} }}",
                    section.about,
                    all.join(", ")
                )
            }
            (name, None) => {
                let of = match name {
                    "view.mounts" => MOUNT,
                    "vars" | "limits" => "{}",
                    "exec" => &exec,
                    "examples" => r#"{ "enum": ["allow", "deny", "hide", "kill"] }"#,
                    _ => RULE,
                };
                let about = section.about.replace('"', "\\\"");
                format!(
                    "{{ \"type\": \"object\", \"description\": \"{about}\", \"additionalProperties\": {of} }}"
                )
            }
        };
        if section.name == "view.mounts" {
            mounts = inner;
        } else {
            properties.push(format!("    \"{}\": {inner}", section.name));
        }
    }
    let mut out = String::from(
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"sbox policy, version 1\",\n  \"type\": \"object\",\n  \"required\": [\"sbox\"],\n  \"additionalProperties\": false,\n  \"properties\": {\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}\n  }}\n}}",
        properties.join(",\n").replace("@MOUNTS@", &mounts)
    );
    out
}
