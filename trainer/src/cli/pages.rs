//! Commands that only print: `config explain`, `explain`, `completions`.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::{Value, json};

use super::{
    arguments::{Cli, ConfigArgs, ConfigCommand, ExplainArgs},
    inputs,
};
use crate::{
    config::{self, Resolved},
    error::{
        Exit, Failure,
        exit::{self, Explanation},
    },
    observe::output::Output,
};

/// Prints one setting, or all.
///
/// # Errors
/// [`Exit::Config`] for an unknown setting, or one that is set wrongly somewhere.
pub(super) fn config(arguments: &ConfigArgs, output: &mut Output) -> Result<(), Failure> {
    let ConfigCommand::Explain(arguments) = &arguments.command;
    let resolved = Resolved::new(&inputs::of_setting(arguments)?)?;
    resolved.ignored_variables().iter().for_each(|note| output.note(note));
    match &arguments.key {
        Some(key) => output.page(&config::page(key, &resolved)?, &config::page_json(key, &resolved)?),
        None => {
            let object = json!({ "schema": "murmur.settings/1", "settings": config::list_json(&resolved) });
            output.page(&config::list(&resolved), &object);
        }
    }
    Ok(())
}

/// Prints one exit code, or all.
///
/// # Errors
/// [`Exit::Usage`] for what is no exit code.
pub(super) fn explain(arguments: &ExplainArgs, output: &mut Output) -> Result<(), Failure> {
    match &arguments.code {
        Some(word) => {
            let page = exit::page(word)?;
            let exit = Exit::from_word(word).unwrap_or(Exit::Bug);
            output.page(&page, &object(exit));
        }
        None => {
            let object = json!({ "schema": "murmur.exits/1", "exits": Exit::ALL.map(object) });
            output.page(&exit::index(), &object);
        }
    }
    Ok(())
}

fn object(exit: Exit) -> Value {
    let Explanation { name, meaning, causes, fix } = exit.explanation();
    json!({
        "schema": "murmur.exit/1", "code": exit.code(), "name": name, "meaning": meaning, "causes": causes, "fix": fix,
    })
}

/// Prints a completion script.
pub(super) fn completions(shell: Shell, output: &mut Output) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "murmur", &mut script);
    output.page(String::from_utf8_lossy(&script).trim_end(), &Value::Null);
}
