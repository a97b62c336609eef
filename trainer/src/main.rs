//! The one binary, `murmur`. Everything is in the library, where it is tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmur::cli::main()
}
