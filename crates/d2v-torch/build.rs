//! Compiles `native/` against the libtorch that `torch-sys` found, and lets every program that
//! links this crate find it when cargo starts it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by torch-sys, which this crate depends on directly for this reason.
    let library_folder = PathBuf::from(
        env::var_os("DEP_TCH_LIBTORCH_LIB").ok_or("torch-sys did not say where libtorch's libraries are")?,
    );
    let out_folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);
    compile_native(&library_folder);
    expose_to_cargo_run(&library_folder, &out_folder)
}

fn compile_native(library_folder: &Path) {
    println!("cargo::rerun-if-changed=native");
    let include = library_folder.join("../include");
    let build = || {
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .include(&include)
            .include(include.join("torch/csrc/api/include"))
            .define("_GLIBCXX_USE_CXX11_ABI", "1")
            // libtorch's headers are not ours to mend.
            .warnings(false);
        build
    };
    build()
        .file("native/d2v_native.cpp")
        .file("native/checkpoint.cpp")
        .file("native/cpu_cache.cpp")
        .file("native/linear.cpp")
        .file("native/streams.cpp")
        .compile("d2v_native");
    // Loops that the compiler is to make vectors of, in unoptimised builds too. None of the flags changes a result
    // that is a number: reductions are marked one by one, and neither errno nor traps are read.
    build()
        .file("native/attention.cpp")
        .file("native/feed_forward.cpp")
        .opt_level(3)
        .flag_if_supported("-fopenmp-simd")
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fno-trapping-math")
        .compile("d2v_kernels");
}

/// Names libtorch's folder by a path below `target/`.
///
/// For `run`, `test`, `bench` and doctests cargo puts into the loader's path those search folders of
/// build scripts that lie below `target/`, before whatever the user's LD_LIBRARY_PATH holds, and no
/// others. It also overrules an LD_LIBRARY_PATH set in `.cargo/config.toml`, so a link in the build
/// folder is the one way that works everywhere.
fn expose_to_cargo_run(library_folder: &Path, out_folder: &Path) -> Result<(), Box<dyn Error>> {
    let link = out_folder.join("libtorch");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(library_folder, &link)?;
    println!("cargo::rustc-link-search=native={}", link.display());
    Ok(())
}
