//! `cargo xtask data`: public data sets, each from the address its authors published.
//!
//! To add one, add a row to [`DATA_SETS`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::cifar;
use crate::disk::Lock;
use crate::fetch::{Remote, fetch};

/// A data set that can be fetched.
struct DataSet {
    name: &'static str,
    /// What it is, whose it is, and on what terms.
    description: &'static str,
    files: &'static [(&'static str, Remote<'static>)],
    form: Form,
}

/// What becomes of the files.
enum Form {
    /// `d2v` reads the folder as it is.
    AsPublished,
    /// The one archive becomes one tar file of pictures with this name.
    CifarTar(&'static str),
}

const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "cifar10",
        description: "60,000 colour pictures, 32x32, 10 classes (A. Krizhevsky, 2009; no licence stated, please cite)",
        files: &[(
            "cifar-10-binary.tar.gz",
            Remote {
                url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                bytes: 170_052_171,
            },
        )],
        form: Form::CifarTar("cifar10.tar"),
    },
    DataSet {
        name: "fashion-mnist",
        description: "70,000 grey pictures of clothes, 28x28, 10 classes (Zalando SE, 2017; MIT licence)",
        files: &[
            (
                "train-images-idx3-ubyte.gz",
                Remote {
                    url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
                    sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    bytes: 26_421_880,
                },
            ),
            (
                "train-labels-idx1-ubyte.gz",
                Remote {
                    url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
                    sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    bytes: 29_515,
                },
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                Remote {
                    url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
                    sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    bytes: 4_422_102,
                },
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                Remote {
                    url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
                    sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    bytes: 5_148,
                },
            ),
        ],
        form: Form::AsPublished,
    },
];

/// Fetches the data set called `name` into `folder`; without a name, lists what there is.
///
/// # Errors
/// When there is no such data set, or it cannot be fetched; the message says what to do.
pub(crate) fn run(checkout: &Checkout, name: Option<&str>, folder: Option<PathBuf>) -> Result<ExitCode> {
    let Some(name) = name else {
        print!("{}", list());
        return Ok(ExitCode::SUCCESS);
    };
    let Some(set) = DATA_SETS.iter().find(|set| set.name == name) else {
        bail!("there is no data set `{name}` here. There are:\n{}", list());
    };
    let folder = folder.unwrap_or_else(|| checkout.root().join("data").join(name));
    let ready = obtain(set, &folder)?;
    println!("{}", set.description);
    println!("Use it: cargo xtask pretrain --data {}", ready.display());
    Ok(ExitCode::SUCCESS)
}

fn list() -> String {
    DATA_SETS.iter().map(|set| format!("  {:<14} {}\n", set.name, set.description)).collect()
}

/// Returns what to give to `--data`.
fn obtain(set: &DataSet, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let _lock = Lock::take(&folder.join(".lock"))?;
    if let Form::CifarTar(tar) = set.form
        && folder.join(tar).exists()
    {
        return Ok(folder.join(tar));
    }
    for (file, remote) in set.files {
        fetch(*remote, &folder.join(file))?;
    }
    match set.form {
        Form::AsPublished => Ok(folder.to_path_buf()),
        Form::CifarTar(tar) => {
            let target = folder.join(tar);
            for (archive, _) in set.files {
                let archive = folder.join(archive);
                cifar::to_tar_of_pictures(&archive, &target)?;
                fs::remove_file(&archive).with_context(|| format!("cannot delete {}", archive.display()))?;
            }
            Ok(target)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let names: BTreeSet<_> = DATA_SETS.iter().map(|set| set.name).collect();
        assert_eq!(names.len(), DATA_SETS.len(), "names must be unique");
        for (file, remote) in DATA_SETS.iter().flat_map(|set| set.files) {
            assert!(remote.url.ends_with(file), "{file} is not what {} names", remote.url);
            assert_eq!(remote.sha256.len(), 64, "{file}");
            assert!(remote.bytes > 0, "{file}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_list() {
        let error = run(&Checkout::find().unwrap(), Some("cifar11"), None).unwrap_err().to_string();
        assert!(error.contains("cifar10") && error.contains("fashion-mnist"), "{error}");
    }
}
