//! What must hold of any bytes at all. Shared by the fuzz targets and the test that replays the corpus.
#![allow(dead_code)]

use murmur_kernels::{
    Carry, CarryShape, Direction, Optimizer, TopK, Weight, fold, payload_bytes_max, reference, validate,
};

/// The first two bytes choose the density, the next two the number of parameters (up to 65535); the rest is the payload.
/// Says whether it was accepted, or nothing if the input is too short to say.
pub(crate) fn payload(input: &[u8]) -> Option<bool> {
    let (density, rest) = input.split_first_chunk()?;
    let (params, payload) = rest.split_first_chunk()?;
    let k = TopK::new(16 + u16::from_le_bytes(*density) % 4081).expect("16 to 4096");
    let params = usize::from(u16::from_le_bytes(*params));

    let validated = validate(k, params, payload);
    let decoded = reference::decode(k, params, payload);
    assert_eq!(validated.is_ok(), decoded.is_ok(), "fast {validated:?}, reference {:?}", decoded.err());

    let mut state = vec![1; params];
    let folded = fold(k, payload, Weight::MAX, Direction::Add, &mut state);
    assert_eq!(folded.err(), validated.err());
    if validated.is_ok() {
        assert!(payload.len() <= payload_bytes_max(k, params));
        fold(k, payload, Weight::MAX, Direction::Remove, &mut state).expect("accepted before");
    }
    assert!(state.iter().all(|&value| value == 1), "refused or taken out, a payload leaves no trace");
    Some(validated.is_ok())
}

/// The first two bytes are the number of parameters, the next two that of second moments; the rest is a sealed carry, of
/// AdamW if the two are equal, else of Muon. Says whether it was accepted.
pub(crate) fn carry(input: &[u8]) -> Option<bool> {
    let (params, rest) = input.split_first_chunk()?;
    let (second_moments, sealed) = rest.split_first_chunk()?;
    let [params, second_moments] = [params, second_moments].map(|bytes| usize::from(u16::from_le_bytes(*bytes)));
    let optimizer = if params == second_moments { Optimizer::AdamW } else { Optimizer::Muon };
    let opened = Carry::unseal(CarryShape { optimizer, params, second_moments }, sealed);
    if let Ok(carry) = &opened {
        assert_eq!(carry.seal(), sealed, "a carry has one sealed form");
    }
    Some(opened.is_ok())
}
