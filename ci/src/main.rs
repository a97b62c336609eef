//! murmur
fn main() {}
