//! `d2v report`: makes a run's page again.

use super::masks::report_samples;
use crate::config::RunConfig;
use crate::evaluate::record::PROBE_FILE;
use crate::exit::Exit;
use crate::report::{CONFIG_FILE, ProbeTable, ReportExtras, write_report};
use crate::settings::{self, Source};
use crate::sources::saved_tokenizer;
use anyhow::Context;
use clap::Args as ClapArgs;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Arguments of `d2v report`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:
  d2v report --run runs/image-tiny

Samples come from the run's data again, the table of probes from probe.json; what is not there is left out.")]
pub struct Args {
    /// The run's folder.
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
}

/// Writes `report.html`.
///
/// # Errors
/// If the folder holds no run, its records are damaged, or the page cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let report = write_report(&args.run, &extras(&args.run)?)?;
    tracing::info!("report: {}", report.display());
    Ok(Exit::Done)
}

/// The masked samples and the table of probes of the run in `run`.
///
/// # Errors
/// If the configuration or `probe.json` is damaged. Data that is gone costs the samples only.
pub fn extras(run: &Path) -> anyhow::Result<ReportExtras> {
    let config = load_config(run)?;
    let tokenizer = saved_tokenizer(run)?;
    let masked = report_samples(&config, tokenizer)
        .inspect_err(|error| tracing::warn!("the report shows no samples: {error:#}"))
        .ok();
    Ok(ReportExtras { masked, probe: probe_table(run)? })
}

/// The configuration that a run was made with.
///
/// # Errors
/// If the folder has none, or it is damaged.
pub fn load_config(run: &Path) -> anyhow::Result<RunConfig> {
    let path = run.join(CONFIG_FILE);
    let load = || Ok::<_, anyhow::Error>(settings::load(&Source::read(&path)?, &[])?);
    load().with_context(|| format!("{} holds no run of d2v pretrain", run.display()))
}

#[derive(Deserialize)]
struct ProbeFile {
    table: Option<ProbeTable>,
}

fn probe_table(run: &Path) -> anyhow::Result<Option<ProbeTable>> {
    let path = run.join(PROBE_FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| path.display().to_string())?,
    };
    let file: ProbeFile = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged; `d2v probe` writes it again", path.display()))?;
    Ok(file.table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::recipe::RecipeArgs;
    use std::fs;

    fn folder(probe: &str) -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        let config = RecipeArgs::default().load().unwrap();
        fs::write(run.path().join(CONFIG_FILE), settings::to_toml(&config).unwrap()).unwrap();
        fs::write(run.path().join(PROBE_FILE), probe).unwrap();
        run
    }

    #[test]
    fn pictures_and_probes_are_on_the_page() {
        let probe = r#"{"runs": [], "table": {"headers": ["probe"], "rows": [["81.25"]], "note": "a note"}}"#;
        let folder = folder(probe);
        assert_eq!(run(&Args { run: folder.path().to_owned() }).unwrap(), Exit::Done);
        let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
        for expected in ["data:image/png", "81.25", "a note"] {
            assert!(html.contains(expected), "{expected} is missing");
        }
    }

    #[test]
    fn damaged_and_absent_files_are_named() {
        let error = extras(folder("{").path()).unwrap_err();
        assert!(format!("{error:#}").contains("probe.json"), "{error:#}");
        let error = load_config(Path::new("/nowhere/run-7")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/run-7"), "{error:#}");
    }
}
