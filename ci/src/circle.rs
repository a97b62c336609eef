//! Whether the files of a folder import each other in a circle, or its folders do: then none can be read, tested or changed
//! alone.
//!
//! An import is a path in the code that begins with `crate`, `super`, `self` or the name of a child module. A name that
//! the crate's root re-exports counts as the file it comes from; the root itself counts as no file, nor does code under
//! `#[cfg(test)]`. Relies on the layout of rustfmt.

use std::collections::{BTreeMap, BTreeSet};

/// File → the files that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// A sentence that names one circle among the files of `folder`, or says that it has none; nothing if all is well.
#[must_use]
pub fn violation(sources: &BTreeMap<String, String>, folder: &str) -> Option<String> {
    match imports(sources, folder) {
        Some(imports) => circle(folder, &imports),
        None => Some(format!("{folder}: has no files that could import each other")),
    }
}

/// As [`violation`], of the folders in `folder`, each taken as one with its files. Files that only tests use import what they
/// like.
#[must_use]
pub fn violation_of_folders(sources: &BTreeMap<String, String>, folder: &str) -> Option<String> {
    let Some(files) = imports(sources, folder) else {
        return Some(format!("{folder}: has no folders that could import each other"));
    };
    let top = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    let mut folders = Imports::new();
    for (name, targets) in files.iter().filter(|(name, _)| !name.ends_with("tests")) {
        let targets = targets.iter().map(|target| top(target)).filter(|target| *target != top(name));
        folders.entry(top(name)).or_default().extend(targets);
    }
    circle(folder, &folders)
}

/// What each file of `folder` imports of it; nothing without files.
fn imports(sources: &BTreeMap<String, String>, folder: &str) -> Option<Imports> {
    let module = |path: &str| {
        let name = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
        Some(name.strip_suffix("/mod").unwrap_or(name).to_owned())
    };
    let mut files: BTreeMap<_, _> = sources.iter().filter_map(|(path, text)| Some((module(path)?, text))).collect();
    let roots = [files.remove("lib"), files.remove("main")];
    if files.is_empty() {
        return None;
    }
    let is_file = |path: &str| files.contains_key(path);
    let file_of = |path: &str| {
        let mut places = std::iter::successors(Some(path), |inside| Some(inside.rsplit_once('/')?.0));
        places.find(|place| is_file(place)).map(str::to_owned)
    };
    let shown = roots.into_iter().flatten().flat_map(|text| paths("", text, is_file));
    let shown = shown.filter_map(|path| Some((path.rsplit('/').next()?.to_owned(), file_of(&path)?)));
    let shown: BTreeMap<String, String> = shown.collect();
    let target = |path: String| file_of(&path).or_else(|| shown.get(path.split('/').next()?).cloned());
    let imports = files.iter().map(|(name, text)| {
        let targets = paths(name, text, is_file).into_iter().filter_map(target);
        (name.clone(), targets.filter(|other| other != name).collect())
    });
    Some(imports.collect())
}

fn circle(folder: &str, imports: &Imports) -> Option<String> {
    let (mut trail, mut clear) = (Vec::new(), BTreeSet::new());
    imports.keys().any(|name| leads_to_circle(name, imports, &mut trail, &mut clear)).then(|| {
        let names = trail.join(" → ");
        format!("{folder}: a circle of imports, {names}: what these share goes below them")
    })
}

/// Every path in the code of the module `name`, from the crate's root, with `/` between its parts.
pub(crate) fn paths(name: &str, text: &str, is_file: impl Fn(&str) -> bool) -> Vec<String> {
    let mut spaced = String::new();
    for character in code(text).chars() {
        match character {
            letter if letter.is_alphanumeric() || letter == '_' => spaced.push(letter),
            sign => spaced.extend([' ', sign, ' ']),
        }
    }
    let spaced = spaced.replace(" :  : ", " :: ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (mut rest, mut found) = (&tokens[..], Vec::new());
    while let [head, after @ ..] = rest {
        let start = inner(name, head);
        let ours = matches!(*head, "crate" | "super" | "self") || is_file(&start);
        let path = if ours { start } else { "another crate's".to_owned() };
        rest = if after.first() == Some(&"::") { follow(path, after, &mut found) } else { after };
    }
    found
}

/// The lines of `text` without comments and without what stands under `#[cfg(test)]`.
fn code(text: &str) -> String {
    let mut test_at = None;
    let mut lines = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if test_at == Some(indent) && line.ends_with(['}', ';', ',']) {
            test_at = None;
        } else if line.trim() == "#[cfg(test)]" || line.trim().starts_with("#[cfg(all(test,") {
            test_at = test_at.or(Some(indent));
        } else if test_at.is_none() {
            lines.extend([line.split("//").next().unwrap_or_default(), "\n"]);
        }
    }
    lines
}

/// What `name` means inside `path`.
fn inner(path: &str, name: &str) -> String {
    match name {
        "crate" => String::new(),
        "self" => path.to_owned(),
        "super" => path.rsplit_once('/').map_or("", |(above, _)| above).to_owned(),
        _ if path.is_empty() => name.to_owned(),
        _ => format!("{path}/{name}"),
    }
}

/// Adds to `found` the path that begins with `path`, or the several if braces follow; returns the tokens after it.
fn follow<'a>(mut path: String, mut rest: &'a [&'a str], found: &mut Vec<String>) -> &'a [&'a str] {
    while let ["::", name, after @ ..] = rest {
        rest = after;
        if *name != "{" {
            path = inner(&path, name);
            continue;
        }
        while let [first, after @ ..] = rest {
            rest = match *first {
                "}" => return after,
                "," => after,
                _ => follow(inner(&path, first), after, found),
            };
        }
    }
    if let ["as", name, ..] = rest {
        path = inner(&path, name);
    }
    found.push(path);
    rest
}

/// Whether a circle is reached from `name`. Then `trail` is that circle, its first name again at the end.
fn leads_to_circle(name: &str, imports: &Imports, trail: &mut Vec<String>, clear: &mut BTreeSet<String>) -> bool {
    if clear.contains(name) {
        return false;
    }
    let seen = trail.iter().position(|before| before == name);
    trail.push(name.to_owned());
    if let Some(start) = seen {
        trail.drain(..start);
        return true;
    }
    if imports.get(name).into_iter().flatten().any(|next| leads_to_circle(next, imports, trail, clear)) {
        return true;
    }
    trail.pop();
    clear.insert(name.to_owned());
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circle among `files` of the folder `a/src`, if there is one.
    fn found(files: &[(&str, &str)]) -> Option<String> {
        let sources = files.iter().map(|(name, text)| (format!("a/src/{name}.rs"), (*text).to_owned())).collect();
        violation(&sources, "a/src").map(|sentence| {
            let names = sentence.strip_prefix("a/src: a circle of imports, ").expect("it begins with the place");
            names.split(':').next().unwrap_or_default().to_owned()
        })
    }

    #[test]
    fn a_circle_is_named_whatever_way_its_paths_are_written() {
        for back in [
            "use crate::x::X;",
            "use crate::{z, x::{self, X}};",
            "use super::x;",
            "fn f() { crate::x::f() }",
            "#[error(\"{}\", crate::x::N)]",
            "use crate::X;",
            "use crate::{z::Z as W, Renamed};",
        ] {
            let lib = ("lib", "mod x;\nmod y;\nmod z;\npub use x::X;\npub use x::N as Renamed;");
            let files = [lib, ("x", "use crate::y;"), ("y", back), ("z", "use crate::x;")];
            assert_eq!(found(&files).as_deref(), Some("x → y → x"), "{back}");
        }
    }

    #[test]
    fn a_parent_and_its_child_are_a_circle_if_each_uses_the_other() {
        let child = ("x/inner", "use super::X;");
        assert_eq!(found(&[("x", "mod inner;\nuse inner::Y;"), child]).as_deref(), Some("x → x/inner → x"));
        assert_eq!(found(&[("x/mod", "mod inner;\nuse self::inner::Y;"), child]).as_deref(), Some("x → x/inner → x"));
        assert_eq!(found(&[("x", "mod inner;\nuse tokio::{inner::Y};"), child]), None, "a name of another crate");
    }

    #[test]
    fn the_root_comments_and_tests_close_no_circle() {
        for back in [
            "//! See [`crate::x`].",
            "fn f() {} // as crate::x",
            "#[cfg(test)]\nmod tests {\n    use crate::x;\n}",
            "#[cfg(all(test, unix))]\nuse crate::{\n    x,\n};",
            "use crate::unknown;",
        ] {
            let files =
                [("lib", "mod x;\nmod y;\nfn f() { x::f(crate::y::f()) }"), ("x", "use crate::y;"), ("y", back)];
            assert_eq!(found(&files), None, "{back}");
        }
        let after = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::x;";
        assert_eq!(found(&[("x", "use crate::y;"), ("y", after)]).as_deref(), Some("x → y → x"));
    }

    #[test]
    fn folders_may_not_use_each_other_and_their_tests_may() {
        let found = |back: (&str, &str)| {
            let files =
                [("lib", "mod x;\nmod y;"), ("x/mod", "mod a;"), ("x/a", "use crate::y::b;"), ("y/mod", ""), back];
            let sources = files.map(|(name, text)| (format!("a/src/{name}.rs"), text.to_owned()));
            violation_of_folders(&sources.into(), "a/src")
        };
        let circle = found(("y/b", "use crate::x;"));
        assert!(circle.is_some_and(|sentence| sentence.contains("x → y → x")));
        assert_eq!(found(("y/b", "use super::c;")), None, "within a folder");
        assert_eq!(found(("y/tests", "use crate::x;")), None);
        assert!(violation_of_folders(&BTreeMap::new(), "a/src").is_some());
    }

    #[test]
    fn a_folder_without_files_is_named_and_other_folders_are_not_looked_at() {
        let sources = BTreeMap::from([("ab/x.rs".to_owned(), String::new())]);
        assert!(violation(&sources, "a").is_some_and(|sentence| sentence.starts_with("a: has no files")));
        assert_eq!(violation(&sources, "ab"), None);
    }
}
