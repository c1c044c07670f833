//! Takes libraries and headers out of a wheel.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

use crate::progress::Progress;

/// Unpacks from the zip file `wheel` what `taken` names into the folder `into`.
///
/// A name that ends in `/` stands for all below it.
///
/// # Errors
/// When the wheel is damaged, lacks something named, or has a member that would land outside `into`.
pub(crate) fn unpack(wheel: &Path, taken: &[String], into: &Path) -> Result<()> {
    let file = BufReader::new(File::open(wheel).with_context(|| format!("cannot open {}", wheel.display()))?);
    let mut archive = ZipArchive::new(file).with_context(|| format!("{} is no zip file", wheel.display()))?;

    let mut members = Vec::new();
    let mut total_bytes = 0;
    let mut missing: Vec<&String> = taken.iter().collect();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index)?;
        let name = member.name()?;
        if member.is_file() && taken.iter().any(|wanted| is_taken(&name, wanted)) {
            missing.retain(|wanted| !is_taken(&name, wanted));
            members.push(index);
            total_bytes += member.size();
        }
    }
    ensure!(missing.is_empty(), "{} lacks {missing:?}, which libtorch.toml names", wheel.display());

    let title = wheel.file_name().unwrap_or_default().to_string_lossy();
    let title = title.split('-').next().unwrap_or_default();
    let mut progress = Progress::start(format!("unpacking {title}"), total_bytes);
    let mut done_bytes = 0;
    for index in members {
        let mut member = archive.by_index(index)?;
        let name = member.name()?.into_owned();
        let Some(relative) = member.enclosed_name() else {
            bail!("{}: the member `{name}` would land outside the folder", wheel.display());
        };
        ensure!(!member.is_symlink(), "{}: the member `{name}` is a link", wheel.display());
        let target = into.join(relative);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut out = File::create(&target).with_context(|| format!("cannot write {}", target.display()))?;
        done_bytes += io::copy(&mut member, &mut out)
            .with_context(|| format!("cannot unpack `{name}` to {}", target.display()))?;
        progress.set(done_bytes);
    }
    progress.finish();
    Ok(())
}

fn is_taken(member: &str, wanted: &str) -> bool {
    if wanted.ends_with('/') { member.starts_with(wanted) } else { member == wanted }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn wheel(members: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torch-1-py3-none-any.whl");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        for member in members {
            writer.start_file(*member, SimpleFileOptions::default()).unwrap();
            writer.write_all(member.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        (folder, path)
    }

    fn take(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_is_named_comes_out() {
        let (folder, path) = wheel(&["torch/lib/libc10.so", "torch/lib/libother.so", "torch/include/a/b.h"]);
        let into = folder.path().join("into");
        unpack(&path, &take(&["torch/lib/libc10.so", "torch/include/"]), &into).unwrap();
        assert!(into.join("torch/lib/libc10.so").is_file());
        assert!(!into.join("torch/lib/libother.so").exists());
        assert_eq!(fs::read_to_string(into.join("torch/include/a/b.h")).unwrap(), "torch/include/a/b.h");
    }

    #[test]
    fn a_missing_member_is_named() {
        let (folder, path) = wheel(&["torch/lib/libc10.so"]);
        let error = unpack(&path, &take(&["torch/lib/libtorch_cpu.so"]), folder.path()).unwrap_err();
        assert!(error.to_string().contains("torch/lib/libtorch_cpu.so"), "{error}");
    }

    #[test]
    fn a_member_that_escapes_is_refused() {
        let (folder, path) = wheel(&["torch/../../escaped"]);
        let into = folder.path().join("into");
        let error = unpack(&path, &take(&["torch/"]), &into).unwrap_err();
        assert!(error.to_string().contains("outside"), "{error}");
        assert!(!folder.path().join("escaped").exists());
    }
}
