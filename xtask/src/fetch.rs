//! Fetches one file over HTTP with curl: goes on where it stopped, and keeps nothing that has the wrong hash.
//!
//! curl and not a library: it knows this machine's proxies and certificates, and an HTTP library with TLS
//! would take longer to compile than all the rest of xtask.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::progress::Progress;
use crate::{checksum, child, disk};

/// A file as its authors published it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote<'a> {
    /// Its address.
    pub(crate) url: &'a str,
    /// SHA-256 of its content, in hexadecimal.
    pub(crate) sha256: &'a str,
    /// Its size.
    pub(crate) bytes: u64,
}

/// curl's exit code for a server that cannot begin in the middle.
const CURL_NO_RANGES: i32 = 33;

/// Makes `target` that file. Does nothing when it is there already.
///
/// # Errors
/// When curl is missing or fails, the disk is full, or the content is not what it should be.
pub(crate) fn fetch(remote: Remote<'_>, target: &Path) -> Result<()> {
    if target.exists() {
        let found = checksum::sha256(target)?;
        ensure!(
            found == remote.sha256,
            "{} is there, but its SHA-256 is {found} and not {}: delete it and run again",
            target.display(),
            remote.sha256
        );
        return Ok(());
    }
    let folder = target.parent().context("the target lies in a folder")?;
    let partial = partial_name(target);
    let present = size(&partial);
    disk::require_free(folder, remote.bytes.saturating_sub(present))?;

    let mut progress =
        Progress::start(target.file_name().unwrap_or_default().to_string_lossy().into_owned(), remote.bytes);
    if present < remote.bytes {
        download(remote.url, &partial, &mut progress)?;
    }
    let found = checksum::sha256(&partial)?;
    if found != remote.sha256 {
        fs::remove_file(&partial).with_context(|| format!("cannot delete {}", partial.display()))?;
        bail!(
            "what {} sent has SHA-256 {found}, and {} was expected. It was deleted. Run again; if that does not \
             help, the file was changed or damaged where it is published",
            remote.url,
            remote.sha256
        );
    }
    disk::publish(&partial, target)?;
    progress.finish();
    Ok(())
}

fn download(url: &str, partial: &Path, progress: &mut Progress) -> Result<()> {
    ensure!(
        child::first_line("curl", &["--version"]).is_some(),
        "curl is needed to fetch {url}, and does not work here: install it (Debian, Ubuntu: `apt install curl`), \
         or bring the file yourself as {} and run again; its hash will be checked",
        partial.display()
    );
    let mut outcome = run_curl(url, partial, progress)?;
    if outcome.code == Some(CURL_NO_RANGES) {
        fs::remove_file(partial).with_context(|| format!("cannot delete {}", partial.display()))?;
        outcome = run_curl(url, partial, progress)?;
    }
    ensure!(
        outcome.code == Some(0),
        "curl could not fetch {url}: {}. Run again to go on where it stopped ({} bytes are here)",
        outcome.said.trim(),
        size(partial)
    );
    Ok(())
}

struct Outcome {
    code: Option<i32>,
    said: String,
}

fn run_curl(url: &str, partial: &Path, progress: &mut Progress) -> Result<Outcome> {
    let mut curl = Command::new("curl")
        .args(["--fail", "--location", "--silent", "--show-error", "--continue-at", "-"])
        // Give up on a line that is dead, not on one that is slow.
        .args(["--connect-timeout", "30", "--speed-limit", "100", "--speed-time", "60", "--retry", "3"])
        .arg("--output")
        .arg(partial)
        .args(["--", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start curl")?;
    while curl.try_wait().context("cannot wait for curl")?.is_none() {
        progress.set(size(partial));
        thread::sleep(Duration::from_millis(50));
    }
    let output = curl.wait_with_output().context("cannot read what curl says")?;
    Ok(Outcome { code: output.status.code(), said: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Where the bytes are kept until all have come and are right.
fn partial_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// How the server on loopback treats a request.
    #[derive(Clone, Copy)]
    enum Manner {
        /// Sends what is asked for.
        Whole,
        /// The same, but for the first request closes the line after so many bytes.
        CutFirst(usize),
        /// Sends everything, whatever range is asked for.
        NoRanges,
        /// Has no such file.
        Missing,
    }

    struct Server {
        url: String,
        requests: Arc<AtomicU64>,
        ranges: Arc<Mutex<Vec<u64>>>,
    }

    fn serve(content: Vec<u8>, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.bin", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicU64::new(0));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let server = Server { url, requests: requests.clone(), ranges: ranges.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = requests.fetch_add(1, Ordering::SeqCst);
                answer(stream.unwrap(), &content, manner, number, &ranges);
            }
        });
        server
    }

    fn answer(mut stream: TcpStream, content: &[u8], manner: Manner, number: u64, ranges: &Mutex<Vec<u64>>) {
        let mut start = 0;
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let line = line.unwrap().to_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                start = range.trim_end_matches('-').parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        ranges.lock().unwrap().push(start as u64);
        let all = content.len();
        let (status, first) = match manner {
            Manner::Missing => ("404 Not Found", all),
            Manner::NoRanges => ("200 OK", 0),
            _ if start > 0 => ("206 Partial Content", start),
            _ => ("200 OK", 0),
        };
        let body = &content[first..];
        let mut head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        if status.starts_with("206") {
            head += &format!("Content-Range: bytes {first}-{}/{all}\r\n", all - 1);
        }
        let sent = match manner {
            Manner::CutFirst(bytes) if number == 0 => &body[..bytes],
            _ => body,
        };
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A client that has heard enough may hang up.
        let _ = stream.write_all(sent);
    }

    fn content() -> Vec<u8> {
        (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    fn remote<'a>(server: &'a Server, sha256: &'a str) -> Remote<'a> {
        Remote { url: &server.url, sha256, bytes: content().len() as u64 }
    }

    fn folder() -> (tempfile::TempDir, PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        fs::write(&original, content()).unwrap();
        let target = folder.path().join("file.bin");
        let sha256 = checksum::sha256(&original).unwrap();
        (folder, target, sha256)
    }

    #[test]
    fn a_whole_file_arrives_and_is_not_fetched_again() {
        let (_folder, target, sha256) = folder();
        let server = serve(content(), Manner::Whole);
        fetch(remote(&server, &sha256), &target).unwrap();
        fetch(remote(&server, &sha256), &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), content());
        assert_eq!(server.requests.load(Ordering::SeqCst), 1);
        assert!(!partial_name(&target).exists());
    }

    #[test]
    fn a_cut_download_goes_on_where_it_stopped() {
        let (_folder, target, sha256) = folder();
        let server = serve(content(), Manner::CutFirst(40_000));
        let error = fetch(remote(&server, &sha256), &target).unwrap_err();
        assert!(error.to_string().contains("Run again to go on where it stopped (40000 bytes"), "{error}");
        assert!(!target.exists(), "a half file must not have the name of a whole one");
        fetch(remote(&server, &sha256), &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), content());
        assert_eq!(*server.ranges.lock().unwrap(), [0, 40_000]);
    }

    #[test]
    fn a_server_without_ranges_is_asked_for_everything() {
        let (_folder, target, sha256) = folder();
        fs::write(partial_name(&target), &content()[..1000]).unwrap();
        let server = serve(content(), Manner::NoRanges);
        fetch(remote(&server, &sha256), &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), content());
    }

    #[test]
    fn a_wrong_hash_is_refused_and_nothing_kept() {
        let (_folder, target, _) = folder();
        let server = serve(content(), Manner::Whole);
        let error = fetch(remote(&server, &"0".repeat(64)), &target).unwrap_err();
        assert!(error.to_string().contains("was expected"), "{error}");
        assert!(!target.exists() && !partial_name(&target).exists());
    }

    #[test]
    fn a_missing_file_is_named() {
        let (_folder, target, sha256) = folder();
        let server = serve(content(), Manner::Missing);
        let error = fetch(remote(&server, &sha256), &target).unwrap_err().to_string();
        assert!(error.contains("404") && error.contains(&server.url), "{error}");
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_alone() {
        let (_folder, target, sha256) = folder();
        fs::write(&target, "mine").unwrap();
        let server = serve(content(), Manner::Whole);
        let error = fetch(remote(&server, &sha256), &target).unwrap_err().to_string();
        assert!(error.contains("delete it"), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
