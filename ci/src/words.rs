//! Retired words: the table at the end of GLOSSARY.md names words that gave way to the field's own, and where. They do not
//! come back.

use std::collections::BTreeMap;

/// The heading that the table stands under.
const HEADING: &str = "## Retired words";

/// What a retired word must not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A whole word in code or a comment, in any case and number. Not in a string, which may name a stored seed.
    Word,
    /// A whole identifier in code.
    Name,
    /// The name of a module's file or folder.
    File,
}

/// A line of the table.
#[derive(Debug)]
struct Retired<'a> {
    old: &'a str,
    new: &'a str,
    kind: Kind,
    below: &'a str,
}

/// Every place among `sources` where a word stands that the `glossary` says is retired there, a sentence each; or that the
/// table cannot be read.
#[must_use]
pub fn violations(sources: &BTreeMap<String, String>, glossary: &str) -> Vec<String> {
    let Some((_, table)) = glossary.split_once(HEADING) else {
        return vec![format!("GLOSSARY.md: has no section `{HEADING}`, whose table this check reads")];
    };
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut found = Vec::new();
    for row in rows {
        match read(row) {
            Some(retired) => found.extend(sources.iter().filter_map(|(path, text)| violation(&retired, path, text))),
            None => found.push(format!("GLOSSARY.md: `{row}` is not `| old | new | word, name or file | folder |`")),
        }
    }
    found
}

fn read(row: &str) -> Option<Retired<'_>> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [old, new, kind, below] = cells[..] else { return None };
    let kind = match kind {
        "word" => Kind::Word,
        "name" => Kind::Name,
        "file" => Kind::File,
        _ => return None,
    };
    (!old.is_empty()).then_some(Retired { old, new, kind, below })
}

fn violation(retired: &Retired<'_>, path: &str, text: &str) -> Option<String> {
    let inside = path.strip_prefix(retired.below)?.strip_prefix('/')?;
    let Retired { old, new, .. } = retired;
    let at = match retired.kind {
        Kind::File => {
            let mut parts = inside.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
            return parts
                .any(|part| part == *old)
                .then(|| format!("{path}: `{old}` is called {new} now (GLOSSARY.md)"));
        }
        Kind::Word => text.lines().position(|line| has_word(line, old)),
        Kind::Name => text.lines().position(|line| names(line).any(|name| name == *old)),
    }?;
    Some(format!("{path}:{}: `{old}` is called {new} now (GLOSSARY.md)", at + 1))
}

/// The identifiers in a line of code; what comments and strings say is no name.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    let code = code.split('"').step_by(2);
    code.flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_'))
}

fn has_word(line: &str, old: &str) -> bool {
    let mut unquoted = line.split('"').step_by(2);
    unquoted.any(|part| says(part, old))
}

fn says(part: &str, old: &str) -> bool {
    let mut words = part.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.any(|word| word == *old || word.strip_suffix('s') == Some(old))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOSSARY: &str = "# Words\n| a | b |\n\n## Retired words\n\n| old | new | kind | below |\n|---|---|---|---|\n\
        | quest | traversal | word | a |\n| Vow | VoteRecord | name | a/src |\n| turns | pacemaker | file | a |\n";

    fn found(path: &str, text: &str) -> Vec<String> {
        violations(&BTreeMap::from([(path.to_owned(), text.to_owned())]), GLOSSARY)
    }

    #[test]
    fn a_retired_word_is_found_below_its_folder_in_comments_and_in_the_plural() {
        for text in ["//! A quest.", "/// Two Quests.", "let quest = 1;", "fn end_quest() {}"] {
            let found = found("a/src/x.rs", &format!("\n{text}"));
            assert_eq!(found, ["a/src/x.rs:2: `quest` is called traversal now (GLOSSARY.md)"], "{text}");
        }
        assert!(found("a/x.rs", "seed(\"quest\")").is_empty(), "a string");
        assert!(found("ab/x.rs", "// quest").is_empty() && found("a/x.rs", "// a request").is_empty());
    }

    #[test]
    fn a_retired_name_is_found_in_code_only() {
        assert_eq!(found("a/src/x.rs", "struct Vow;").len(), 1);
        for text in ["// Vow", "struct Vows;", "let x = \"Vow\";", "struct MyVow;"] {
            assert!(found("a/src/x.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_retired_file_is_found_by_its_name_or_its_folder() {
        for path in ["a/turns.rs", "a/src/turns/x.rs"] {
            assert_eq!(found(path, "").len(), 1, "{path}");
        }
        assert!(found("a/returns.rs", "").is_empty());
    }

    #[test]
    fn a_table_that_cannot_be_read_is_no_table_without_words() {
        assert_eq!(violations(&BTreeMap::new(), "# Words").len(), 1);
        assert_eq!(violations(&BTreeMap::new(), &GLOSSARY.replace("| word |", "| kind |")).len(), 1);
    }
}
