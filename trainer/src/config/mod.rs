//! Settings: one table of keys, five places a value can come from, and a typed [`Settings`] at the end.
//!
//! Later places win: default < file (`run.toml`) < environment < `--set key=value` < a flag of its own.
//! The variable for `train.lr` is `MURMUR_TRAIN__LR`: two underscores stand for the dot, so that one can be part of a
//! name (`MURMUR_MODEL__D_MODEL`); other variables are not ours. Every value remembers where it came from, and every error
//! says it. A relative path is read from the folder of its file, or else from the shell's.

mod file;
mod key;
mod keys;
mod page;
pub mod path_text;
mod resolve;
mod settings;
mod value;

pub use key::{Key, Kind, Scope};
pub use keys::{KEYS, key};
pub use page::{list, list_json, page, page_json};
pub use resolve::{Inputs, Resolved, RunFile, Source};
pub use settings::{Audit, Checkpoint, Compress, Data, Device, Eval, Net, Outer, RunLength, Settings, Train};
pub use value::Value;

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
