//! The `portcullis` command.

use std::process::ExitCode;

/// Many small allocations a connection: mimalloc for them, fresh mappings for the rings.
#[global_allocator]
static ALLOCATOR: portcullis::Allocator = portcullis::Allocator;

fn main() -> ExitCode {
    portcullis::cli::main()
}
