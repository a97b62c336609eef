//! Reading `run.toml`: nested tables become dotted names, and every value keeps its line.

use core::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::error::{Exit, Failure};

/// One `name = value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Section and name, joined by a dot.
    pub(super) name: String,
    /// The value as text; `None` when it is a list, a date or a truth value, which no setting takes.
    pub(super) text: Option<String>,
    /// Line in the file, from 1.
    pub(super) number: usize,
    /// Where the name stands, in bytes.
    pub(super) name_bytes: Range<usize>,
    /// Where the value stands, in bytes.
    pub(super) value_bytes: Range<usize>,
}

/// Reads all lines of a TOML text.
///
/// # Errors
/// [`Exit::Config`] with the place, when the text is not TOML.
pub(super) fn lines(name: &str, text: &str) -> Result<Vec<Line>, Failure> {
    let table = DeTable::parse(text).map_err(|error| syntax(name, text, &error))?;
    let mut lines = Vec::new();
    collect("", table.get_ref(), text, &mut lines);
    lines.sort_by_key(|line| line.name_bytes.start);
    Ok(lines)
}

fn collect(prefix: &str, table: &DeTable<'_>, text: &str, lines: &mut Vec<Line>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if let DeValue::Table(inner) = value.get_ref() {
            collect(&name, inner, text, lines);
            continue;
        }
        let (name_bytes, value_bytes) = (key.span(), value.span());
        let number = line_number(text, name_bytes.start);
        lines.push(Line { name, text: scalar(value.get_ref()), number, name_bytes, value_bytes });
    }
}

/// Numbers and strings as text.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_number(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|byte| *byte == b'\n').count()
}

fn syntax(name: &str, text: &str, error: &toml::de::Error) -> Failure {
    let failure = Failure::new(Exit::Config, format!("{name} is not valid TOML")).because(error.message());
    let failure = failure.hint("Write `name = value`, under `[section]`; text goes in double quotes.");
    match error.span() {
        Some(bytes) => {
            let failure = failure.because(format!("line {}", line_number(text, bytes.start)));
            failure.excerpt(name, text, bytes, "here")
        }
        None => failure,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_dotted_names_with_lines() {
        let text = "seed = 7\n\n[train]\nlr = 3e-4\nbatch = 0x10\n[model]\nlayers = \"4\"\n";
        let lines = lines("run.toml", text).unwrap();
        let seen: Vec<_> =
            lines.iter().map(|line| (line.name.as_str(), line.text.as_deref().unwrap(), line.number)).collect();
        assert_eq!(
            seen,
            [("seed", "7", 1), ("train.lr", "3e-4", 4), ("train.batch", "16", 5), ("model.layers", "4", 7)]
        );
        assert_eq!(&text[lines[1].name_bytes.clone()], "lr");
        assert_eq!(&text[lines[1].value_bytes.clone()], "3e-4");
    }

    #[test]
    fn a_list_is_no_value() {
        assert_eq!(lines("run.toml", "seed = [1]").unwrap()[0].text, None);
    }

    #[test]
    fn what_is_not_toml_is_shown() {
        let failure = lines("run.toml", "[train]\nlr = = 3\n").unwrap_err();
        assert_eq!(failure.exit(), Exit::Config);
        assert!(failure.sentence().contains("line 2"), "{}", failure.sentence());
        assert!(failure.render().contains("lr = = 3"));
    }
}
