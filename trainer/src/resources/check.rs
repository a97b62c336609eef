//! Compares what a run needs with what is free.

use murmur_collectives::Rules;

use super::{Free, Shape};
use crate::error::{Exit, Failure};

/// What overrules the check.
const OVERRULE: &str = "If you know better, --set device.memory_check=0 starts it all the same.";

/// Whether `peers` peers of this shape fit into this machine. Where nothing is known of the machine, they do.
///
/// # Errors
/// [`Exit::Config`] when no machine could run it; [`Exit::Device`] when this one lacks memory. Both with the figures, what
/// takes most, and the settings that make it smaller.
pub fn check(shape: &Shape, peers: usize, free: Free) -> Result<(), Failure> {
    let parameters = shape.model.params() as u64;
    let most = *Rules::PARAMETERS.end();
    if parameters > most {
        let message = format!("the model has {parameters} parameters, and a run may have {most}");
        return Err(Failure::new(Exit::Config, message).hint("Make model.d_model or model.layers smaller."));
    }
    let need = shape.need();
    let all = need.total().saturating_mul(peers as u64);
    let items = format!(
        "each takes {}: {} for the model and its optimizer, {} for a batch of {} × {} tokens, {} for the log of \
         updates, {} for the text, {} beside",
        mebibytes(need.total()),
        mebibytes(need.model),
        mebibytes(need.batch),
        shape.batch,
        shape.model.context(),
        mebibytes(need.log),
        mebibytes(need.text),
        mebibytes(need.base),
    );
    let refuse = |message: String, hint: String| {
        let failure = Failure::new(Exit::Device, message).because(items.clone());
        Err(failure.hint(format!("{hint} {OVERRULE}")))
    };
    let smaller = match need.largest() {
        (_, None) => "Start fewer local peers.".to_owned(),
        (most, Some(settings)) => format!("Make {settings} smaller, as {most} takes most, or start fewer local peers."),
    };
    if let Some(memory) = free.memory.filter(|memory| *memory < all) {
        let (all, memory) = (mebibytes(all), mebibytes(memory));
        return refuse(format!("{peers} local peers need about {all} of memory, and {memory} are free"), smaller);
    }
    let space = need.address_space();
    if let Some(limit) = free.address_space.filter(|limit| *limit < space) {
        let (space, limit) = (mebibytes(space), mebibytes(limit));
        return refuse(
            format!("a peer needs about {space} of address space, and its limit (`ulimit -v`) is {limit}"),
            format!("Raise the limit. {smaller}"),
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::estimate::tests::shape, *};
    use crate::learn::model::gpt::Gpt;

    const ROOMY: Free = Free { memory: Some(8 << 30), address_space: None };

    #[test]
    fn the_default_fits_a_small_machine_and_an_unknown_one() {
        assert!(check(&shape(), 4, ROOMY).is_ok());
        assert!(check(&shape(), 64, Free::default()).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_figures_and_the_setting() {
        let huge = Shape { batch: 4096, model: Gpt { context: 2048, ..Gpt::default() }.into(), ..shape() };
        let failure = check(&huge, 4, ROOMY).unwrap_err();
        assert_eq!(failure.exit(), Exit::Device);
        assert!(failure.sentence().contains("8192 MiB are free") && failure.sentence().contains("4096 × 2048"));
        let hint = failure.to_fault().hint;
        assert!(hint.contains("train.batch") && hint.contains("device.memory_check=0"), "{hint}");
    }

    #[test]
    fn a_limit_on_address_space_is_named() {
        let free = Free { address_space: Some(60 << 20), ..ROOMY };
        let failure = check(&shape(), 1, free).unwrap_err();
        assert_eq!(failure.exit(), Exit::Device);
        assert!(failure.sentence().contains("ulimit -v") && failure.sentence().contains("60 MiB"));
    }

    #[test]
    fn a_model_that_no_machine_may_run_is_a_setting_to_change() {
        let model = Gpt { layers: 64, heads: 64, d_model: 4096, context: 128 }.into();
        assert_eq!(check(&Shape { model, ..shape() }, 1, Free::default()).unwrap_err().exit(), Exit::Config);
    }
}
