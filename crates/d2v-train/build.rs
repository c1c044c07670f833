//! Lets the programs of this crate find libtorch when they are started without cargo.
//!
//! `LD_LIBRARY_PATH` comes first, so a program built against one part of libtorch can be run with another of
//! the same version, CUDA's say.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by torch-sys, which this crate depends on directly for this reason.
    let libraries = env::var("DEP_TCH_LIBTORCH_LIB")
        .map_err(|_| "torch-sys did not say where libtorch's libraries are")?;
    println!("cargo::rustc-link-arg=-Wl,-rpath,{libraries}");
    Ok(())
}
