//! Reads the text before a run starts or is joined, so that the user learns at once what is wrong with it.

use crate::{
    config::Settings,
    error::Failure,
    learn::data::{Corpus, DataSource},
    observe::output::Output,
};

/// The text that the settings name; what is remarkable about it goes to stderr.
///
/// # Errors
/// [`Exit::Data`](crate::error::Exit::Data) when it cannot be used.
pub(super) fn read(settings: &Settings, output: &mut Output) -> Result<Corpus, Failure> {
    output.note("Reading the text …");
    let corpus = Corpus::load(&DataSource::of(settings.data.path.clone()))?;
    corpus.remarks().iter().for_each(|remark| output.note(remark));
    Ok(corpus)
}
