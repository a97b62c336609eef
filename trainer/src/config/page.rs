//! What `murmur config explain` prints: one line per setting, or one page about one of them.

use serde_json::{Value as Json, json};

use super::{KEYS, Key, Resolved, Scope, Value, keys::key, resolve::nearest};
use crate::error::{Exit, Failure};

/// All settings, one line each: name, value, source.
pub fn list(resolved: &Resolved) -> String {
    let line = |key: &Key| {
        let (value, source) = resolved.entry(key);
        format!("{:<24} {:<16} {source}", key.name, value.to_string())
    };
    KEYS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All settings as `murmur.setting/1` objects.
pub fn list_json(resolved: &Resolved) -> Vec<Json> {
    KEYS.iter().map(|key| object(key, resolved)).collect()
}

/// Everything about one setting.
///
/// # Errors
/// [`Exit::Config`] when there is no such setting; names the nearest.
pub fn page(name: &str, resolved: &Resolved) -> Result<String, Failure> {
    let key = known(name)?;
    let (value, source) = resolved.entry(key);
    let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
    let rows = [
        ("value", format!("{value}{unit}")),
        ("source", source.to_string()),
        ("default", if key.default.is_empty() { "\"\"".to_owned() } else { key.default.to_owned() }),
        ("allowed", key.kind.to_string()),
        ("concerns", concerns(key.scope).to_owned()),
        ("variable", key.variable()),
    ];
    let rows = rows.map(|(label, text)| format!("  {label:<9} {text}")).join("\n");
    Ok(format!("{}\n{rows}\n\n{}", key.name, key.doc))
}

/// One setting as a `murmur.setting/1` object.
///
/// # Errors
/// As [`page`].
pub fn page_json(name: &str, resolved: &Resolved) -> Result<Json, Failure> {
    known(name).map(|key| object(key, resolved))
}

fn known(name: &str) -> Result<&'static Key, Failure> {
    key(name).ok_or_else(|| {
        Failure::new(Exit::Config, format!("`{name}` is not a setting; the nearest is `{}`", nearest(name)))
            .because("on the command line")
            .hint("`murmur config explain` lists all settings.")
    })
}

fn concerns(scope: Scope) -> &'static str {
    match scope {
        Scope::Run => "the run: the same on every peer, fixed once it has begun",
        Scope::Machine => "this machine only",
    }
}

fn object(key: &Key, resolved: &Resolved) -> Json {
    let (value, source) = resolved.entry(key);
    let value = match value {
        Value::Whole(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Path(path) => json!(path.display().to_string()),
        Value::Address(address) => json!(address),
    };
    json!({
        "schema": "murmur.setting/1", "key": key.name, "value": value, "source": source.to_string(),
        "default": key.default, "unit": key.unit, "allowed": key.kind.to_string(), "variable": key.variable(),
        "concerns": match key.scope { Scope::Run => "run", Scope::Machine => "machine" }, "doc": key.doc,
    })
}
