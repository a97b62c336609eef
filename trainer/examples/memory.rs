//! What a peer of a run with the given settings is estimated to need, in MiB of memory and of address space.
//!
//! usage: memory TEXT_BYTES [key=value …]

use murmur::{
    config::{Inputs, Resolved},
    error::Failure,
    resources::Shape,
};

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let inputs = Inputs { sets: arguments.collect(), ..Inputs::default() };
    let settings = Resolved::new(&inputs)?.settings()?;
    let need = Shape::of_settings(&settings, text, std::thread::available_parallelism().map_or(1, usize::from)).need();
    println!("{} {}", need.total() >> 20, need.address_space() >> 20);
    Ok(())
}
