//! `murmur doctor`: from arguments to what is examined.

use super::arguments::DoctorArgs;
use crate::{
    doctor::{examine, to_json, to_text},
    error::Failure,
    observe::output::Output,
};

/// Examines the kernels and prints a report.
///
/// # Errors
/// [`Exit::Device`](crate::error::Exit::Device) when an instruction set of this machine does not compute the profile; the
/// report is printed all the same.
pub(super) fn doctor(_arguments: &DoctorArgs, output: &mut Output) -> Result<(), Failure> {
    let examination = examine(&mut |doing| output.note(doing))?;
    output.result(&to_text(&examination), &to_json(&examination));
    examination.verdict()
}
