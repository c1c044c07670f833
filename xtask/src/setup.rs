//! Finds or fetches libtorch and points `.libtorch/current` at it.
//!
//! Everything that needs libtorch goes through that one link: `.cargo/config.toml` names it, so a cargo
//! started by hand finds what this command found.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::checkout::Checkout;
use crate::child;
use crate::disk::{self, Lock};
use crate::installed::{self, Source};
use crate::pinned::{Part, Pinned};
use crate::pip::Pip;
use crate::unpack::unpack;

/// `cargo xtask setup`.
///
/// # Errors
/// See [`ensure_libtorch`].
pub(crate) fn run(checkout: &Checkout, cuda: bool) -> Result<ExitCode> {
    let part = if cuda { Part::Cuda } else { Part::Cpu };
    let root = set_up(checkout, Some(part))?;
    println!("libtorch is {}", root.display());
    println!("Next: `cargo xtask pretrain`; plain `cargo build` and `cargo test` work too.");
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that there is a libtorch and a C++ compiler, for commands that build. Takes no time when all
/// is there; keeps whichever part is there.
///
/// # Errors
/// When something is missing that cannot be fetched; the message says what to do.
pub(crate) fn ensure_libtorch(checkout: &Checkout) -> Result<()> {
    let compiler = compiler();
    ensure!(
        child::first_line(&compiler, &["--version"]).is_some(),
        "a C++ compiler is needed to build, and `{compiler}` does not work: install one (Debian, Ubuntu: `apt \
         install g++`; Fedora: `dnf install gcc-c++`), or name yours in CXX"
    );
    set_up(checkout, None).map(drop)
}

/// The C++ compiler that builds will use.
pub(crate) fn compiler() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// Returns the folder of the libtorch in use. `part` is what was asked for, `None` any.
fn set_up(checkout: &Checkout, part: Option<Part>) -> Result<PathBuf> {
    let pinned = Pinned::read(&checkout.pins())?;
    let current = checkout.current_libtorch();
    let source = Source::from_environment(&current)?;
    if let (Some(Part::Cuda), Source::Folder(_) | Source::Python) = (part, &source) {
        bail!(
            "--cuda fetches a private copy, but LIBTORCH or LIBTORCH_USE_PYTORCH asks for your own: unset them, \
             or leave --cuda out"
        );
    }
    match source {
        Source::Folder(root) => {
            installed::check(&root, &pinned.version).with_context(|| {
                format!(
                    "LIBTORCH is {}, which will not do. Set it to a libtorch {} (the folder that holds `lib` and \
                     `include`), or unset it for a private copy",
                    root.display(),
                    pinned.version
                )
            })?;
            use_own(checkout, root)
        }
        Source::Python => {
            let root = installed::python_torch()?;
            installed::check(&root, &pinned.version).with_context(|| {
                format!(
                    "LIBTORCH_USE_PYTORCH is set, but the PyTorch in {} will not do. Install torch=={} there, or \
                     unset LIBTORCH_USE_PYTORCH for a private copy",
                    root.display(),
                    pinned.version
                )
            })?;
            use_own(checkout, root)
        }
        Source::Private => use_private(checkout, &pinned, part),
    }
}

/// Links to a libtorch that is the user's own.
fn use_own(checkout: &Checkout, root: PathBuf) -> Result<PathBuf> {
    let current = checkout.current_libtorch();
    if current.canonicalize().ok() != Some(root.canonicalize()?) {
        let _lock = lock(checkout)?;
        point(&current, &root)?;
    }
    Ok(root)
}

/// Links to a private copy, made first if need be.
fn use_private(checkout: &Checkout, pinned: &Pinned, part: Option<Part>) -> Result<PathBuf> {
    if let Some(root) = private_in_use(checkout, pinned, part) {
        return Ok(root);
    }
    let _lock = lock(checkout)?;
    // Another process may have made it while we waited.
    if let Some(root) = private_in_use(checkout, pinned, part) {
        return Ok(root);
    }
    let part = part.unwrap_or(Part::Cpu);
    let copy = checkout.libtorch_store().join(copy_name(pinned, part));
    if !copy.is_dir() {
        make_copy(checkout, pinned, part, &copy)?;
    }
    let root = copy.join("torch");
    installed::check(&root, &pinned.version)
        .with_context(|| format!("the private copy is damaged: delete {} and run again", copy.display()))?;
    point(&checkout.current_libtorch(), &Path::new(&copy_name(pinned, part)).join("torch"))?;
    Ok(root)
}

/// The private copy that the link points at, if it is one that serves.
fn private_in_use(checkout: &Checkout, pinned: &Pinned, part: Option<Part>) -> Option<PathBuf> {
    let store = checkout.libtorch_store().canonicalize().ok()?;
    let in_use = checkout.current_libtorch().canonicalize().ok()?;
    let parts: &[Part] = match &part {
        Some(part) => std::slice::from_ref(part),
        None => &[Part::Cpu, Part::Cuda],
    };
    let serves = parts.iter().any(|part| in_use == store.join(copy_name(pinned, *part)).join("torch"));
    (serves && installed::check(&in_use, &pinned.version).is_ok()).then_some(in_use)
}

fn copy_name(pinned: &Pinned, part: Part) -> String {
    format!("{}-{}", pinned.version, part.name())
}

/// Fetches the wheels and unpacks them beside `copy`; only a complete copy ever has that name.
fn make_copy(checkout: &Checkout, pinned: &Pinned, part: Part, copy: &Path) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "private copies of libtorch are made on x86-64 Linux only: install libtorch {} (or PyTorch, whose folder \
         `torch` holds it) and set LIBTORCH to the folder that holds `lib` and `include`",
        pinned.version
    );
    let store = checkout.libtorch_store();
    let wheels = pinned.wheels(part);
    let download_bytes: u64 = wheels.iter().map(|(wheel, _)| wheel.bytes).sum();
    // pip holds one wheel twice for a moment; the largest is the torch wheel.
    let largest_bytes = wheels.iter().map(|(wheel, _)| wheel.bytes).max().unwrap_or_default();
    disk::require_free(&store, download_bytes + largest_bytes + pinned.unpacked_bytes(part))?;

    let pip = Pip::find()?;
    eprintln!(
        "Making a private copy of libtorch {} ({} part) in {}",
        pinned.version,
        part.name(),
        copy.display()
    );
    let downloads = store.join("downloads");
    let partial = store.join(format!("{}.partial", copy_name(pinned, part)));
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot delete {}", partial.display()))?;
    }
    let files = wheels
        .iter()
        .map(|(wheel, taken)| Ok((pip.fetch(pinned, wheel, &downloads)?, *taken)))
        .collect::<Result<Vec<_>>>()?;
    for (file, taken) in &files {
        unpack(file, taken, &partial)?;
    }
    if part == Part::Cpu {
        // The wheel's own libtorch.so, which tch links against, would pull in all of CUDA.
        fs::write(partial.join("torch/lib/libtorch.so"), "INPUT(libtorch_cpu.so)\n")?;
    }
    disk::publish(&partial, copy)?;
    fs::remove_dir_all(&downloads).with_context(|| format!("cannot delete {}", downloads.display()))
}

fn lock(checkout: &Checkout) -> Result<Lock> {
    let store = checkout.libtorch_store();
    fs::create_dir_all(&store).with_context(|| format!("cannot make {}", store.display()))?;
    Lock::take(&store.join("lock"))
}

/// Makes `link` point at `target`, replacing at once whatever link was there.
fn point(link: &Path, target: &Path) -> Result<()> {
    let fresh = link.with_extension("new");
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh).with_context(|| format!("cannot delete {}", fresh.display()))?;
    }
    std::os::unix::fs::symlink(target, &fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    fs::rename(&fresh, link).with_context(|| format!("cannot replace {}", link.display()))
}
