//! Resolves settings: which place's value wins, where it came from, and the error when it is wrong.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    Key, Scope, Value,
    file::{self, Line},
    keys::{KEYS, key},
    path_text,
};
use crate::error::{Exit, Failure};

/// What our variables start with.
const PREFIX: &str = "MURMUR_";

/// Variables of ours that are not settings.
const OTHER_VARIABLES: [&str; 2] = ["MURMUR_LOG", murmur_kernels::simd::VARIABLE];

/// Everything a user gave, by place. Empty: all defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The file, if one was named.
    pub file: Option<RunFile>,
    /// The shell's folder, from which relative paths are read, but for those in the file. Empty: they stay relative.
    pub folder: PathBuf,
    /// The process's environment, or the part of it that starts with `MURMUR_`, as [`path_text`] writes it.
    pub environment: Vec<(String, String)>,
    /// The arguments of `--set`.
    pub sets: Vec<String>,
    /// Flags of their own: flag, the key it stands for, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A `run.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFile {
    /// Its name, for people.
    pub name: String,
    /// What it says.
    pub text: String,
    /// The folder it is in, from which its relative paths are read.
    pub folder: PathBuf,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The table of settings.
    Default,
    /// A file and a line, from 1.
    File(String, usize),
    /// An environment variable.
    Environment(String),
    /// `--set`.
    Set,
    /// A flag of its own.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name, line) => write!(f, "{name}, line {line}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// One value for every key, each with its source.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    entries: BTreeMap<&'static str, (Value, Source)>,
    ignored: Vec<String>,
}

impl Resolved {
    /// Applies the places in order. Does not check how values fit together; [`Resolved::settings`] does.
    ///
    /// # Errors
    /// [`Exit::Config`] for an unknown key, with the nearest known one, and for an impossible value, with what is
    /// allowed; both with the place.
    pub fn new(inputs: &Inputs) -> Result<Self, Failure> {
        let entries = KEYS.iter().map(|key| (key.name, (default_of(key), Source::Default))).collect();
        let mut resolved = Self { entries, ignored: Vec::new() };
        let (variables, folder) = (&inputs.environment, &inputs.folder);
        if let Some(file) = &inputs.file {
            file::lines(&file.name, &file.text)?.iter().try_for_each(|line| resolved.put_line(file, line))?;
        }
        variables.iter().try_for_each(|(name, text)| resolved.put_variable(name, text, folder))?;
        inputs.sets.iter().try_for_each(|argument| resolved.put_set(argument, folder))?;
        inputs.flags.iter().try_for_each(|(flag, name, text)| resolved.put(name, text, Source::Flag(flag), folder))?;
        Ok(resolved)
    }

    /// A remark about variables that begin like ours and are not, such as those Kubernetes sets for a service called murmur.
    pub fn ignored_variables(&self) -> Option<String> {
        let meant = |variable: &str| {
            let key = KEYS.iter().find(|key| key.variable().replace("__", "_").eq_ignore_ascii_case(variable))?;
            Some(format!("{variable} (did you mean {}?)", key.variable()))
        };
        let named: Vec<_> =
            self.ignored.iter().map(|variable| meant(variable).unwrap_or_else(|| variable.clone())).collect();
        let listed = named.join(", ");
        let note = format!("Ignored, as no setting is called so: {listed}. A setting is MURMUR_SECTION__KEY.");
        (!named.is_empty()).then_some(note)
    }

    /// Value and source of `key`.
    pub fn entry(&self, key: &Key) -> &(Value, Source) {
        &self.entries[key.name]
    }

    /// Refuses settings of the run, for commands that take part in a run whose settings are fixed.
    ///
    /// # Errors
    /// [`Exit::Config`] naming the first setting that was given.
    pub fn machine_only(&self, doing: &str) -> Result<(), Failure> {
        let given = |key: &&&Key| key.scope == Scope::Run && self.entry(key).1 != Source::Default;
        let keys: Vec<_> = KEYS.iter().collect();
        let Some(key) = keys.iter().find(given) else {
            return Ok(());
        };
        let allowed: Vec<_> = keys.iter().filter(|key| key.scope == Scope::Machine).map(|key| key.name).collect();
        Err(Failure::new(Exit::Config, format!("`{}` belongs to the run and cannot change when {doing}", key.name))
            .at(&self.entry(key).1)
            .hint(format!("Only this machine's own settings can be given here: {}.", allowed.join(", "))))
    }

    /// The settings of this machine that are not the defaults, as `key=value`, to be given again when resuming.
    pub fn machine_given(&self) -> Vec<String> {
        let given = |key: &&Key| key.scope == Scope::Machine && self.entry(key).1 != Source::Default;
        KEYS.iter().filter(given).map(|key| format!("{}={}", key.name, raw(&self.entry(key).0))).collect()
    }

    fn put_line(&mut self, file: &RunFile, line: &Line) -> Result<(), Failure> {
        let RunFile { name: file, text, folder } = file;
        let source = Source::File(file.clone(), line.number);
        if key(&line.name).is_none() {
            let nearest = nearest(&line.name);
            let label = format!("did you mean {nearest}?");
            return Err(unknown(&line.name, &source).excerpt(file, text, line.name_bytes.clone(), &label));
        }
        let written = line.text.as_deref().unwrap_or(&text[line.value_bytes.clone()]);
        let checked = match line.text {
            Some(_) => self.put(&line.name, written, source, folder),
            None => Err(impossible(&line.name, written, "not a number or a text", &source)),
        };
        checked.map_err(|failure| failure.excerpt(file, text, line.value_bytes.clone(), "this value"))
    }

    /// Ours are `MURMUR_SECTION__KEY`, the settings without a section, and [`OTHER_VARIABLES`]. A name with two
    /// underscores is meant as a setting; any other belongs to another program.
    fn put_variable(&mut self, variable: &str, text: &str, folder: &Path) -> Result<(), Failure> {
        let Some(rest) = variable.strip_prefix(PREFIX) else { return Ok(()) };
        let source = Source::Environment(variable.to_owned());
        if OTHER_VARIABLES.contains(&variable) {
            let wrong = Failure::new(Exit::Config, format!("{variable} is not UTF-8")).at(&source);
            return if path_text::is_escaped(text) { Err(wrong) } else { Ok(()) };
        }
        if let Some(key) = KEYS.iter().find(|key| key.variable().eq_ignore_ascii_case(variable)) {
            return self.put(key.name, text, source, folder);
        }
        if !rest.contains("__") {
            self.ignored.push(variable.to_owned());
            return Ok(());
        }
        let name = rest.replace("__", ".").to_lowercase();
        let nearest = key(nearest(&name)).map(Key::variable).unwrap_or_default();
        Err(unknown(&name, &source).hint(format!("Did you mean {nearest}? Two underscores stand for a dot.")))
    }

    fn put_set(&mut self, argument: &str, folder: &Path) -> Result<(), Failure> {
        let (name, text) = argument.split_once('=').ok_or_else(|| {
            Failure::new(Exit::Config, format!("`{argument}` is not of the form key=value"))
                .at("--set")
                .hint("Write for example --set train.lr=0.002.")
        })?;
        self.put(name.trim(), text, Source::Set, folder)
    }

    fn put(&mut self, name: &str, text: &str, source: Source, folder: &Path) -> Result<(), Failure> {
        let key = key(name).ok_or_else(|| unknown(name, &source))?;
        let value =
            Value::parse(&key.kind, text).map_err(|wrong| impossible(name, text, &wrong.to_string(), &source))?;
        self.entries.insert(key.name, (value.absolute_in(folder), source));
        Ok(())
    }
}

fn default_of(key: &Key) -> Value {
    Value::parse(&key.kind, key.default).expect("a test parses every default in the table")
}

/// A value as it can be parsed again.
fn raw(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Path(path) => path_text::to_text(path.as_os_str()),
        Value::Whole(_) | Value::Real(_) | Value::Address(_) => value.to_string(),
    }
}

fn unknown(name: &str, source: &Source) -> Failure {
    let message = format!("`{name}` is not a setting; the nearest is `{}`", nearest(name));
    Failure::new(Exit::Config, message).at(source).hint("`murmur config explain` lists all settings.")
}

fn impossible(name: &str, given: &str, wrong: &str, source: &Source) -> Failure {
    let allowed = key(name).map_or_else(String::new, |key| key.kind.to_string());
    let given = path_text::from_text(given);
    Failure::new(Exit::Config, format!("`{name}` cannot be `{}`: {wrong}", given.display()))
        .at(source)
        .hint(format!("Allowed is {allowed}. `murmur config explain {name}` says how to choose it."))
}

/// The known key most like `name`: the whole name or its last part may have been meant.
pub(super) fn nearest(name: &str) -> &'static str {
    let likeness = |key: &Key| {
        let last = key.name.rsplit('.').next().unwrap_or(key.name);
        let last_given = name.rsplit('.').next().unwrap_or(name);
        let whole = strsim::normalized_damerau_levenshtein(name, key.name);
        whole.max(0.9 * strsim::normalized_damerau_levenshtein(last_given, last))
    };
    let best = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map(|key| key.name).expect("the table of settings is not empty")
}
