//! A folder as transformers' `from_pretrained` reads it and `save_pretrained` writes it.

use crate::config::PROCESSOR_FILE;
use crate::description::Description;
use crate::names::{from_ours, to_ours};
use crate::safetensors_file::{SINGLE, has_safetensors, read_safetensors_folder, write_safetensors};
use crate::torch_file::TorchFile;
use crate::whole_file::{read_up_to, write_whole};
use crate::{Error, Result, Tensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The configuration's name.
const CONFIG: &str = "config.json";
/// The weights' name before safetensors: a dictionary of tensors by `torch.save`.
const OLDER_WEIGHTS: &str = "pytorch_model.bin";
/// Longest `config.json`; the published ones have 2 kB.
const CONFIG_LIMIT: u64 = 1 << 20;
/// Longest companion; tokenizers of 250,000 tokens have 17 MB.
const COMPANION_LIMIT: u64 = 1 << 28;
/// Files that are carried along as they are.
const COMPANIONS: [&str; 7] = [
    PROCESSOR_FILE,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

/// What such a folder holds, under our names.
#[derive(Debug, Clone, PartialEq)]
pub struct HfModel {
    /// What the network is.
    pub description: Description,
    /// Its weights by our names, f32. A prediction head (`head.*`) may be among them; transformers has no place for it.
    pub tensors: Tensors,
    /// Files of the processor or the tokenizer by name, as they are. See [`ImageProcessor`](crate::ImageProcessor) and
    /// [`AudioProcessor`](crate::AudioProcessor) for the content of `preprocessor_config.json`.
    pub companions: BTreeMap<String, Vec<u8>>,
}

impl HfModel {
    /// Reads a folder: `config.json`, weights in one safetensors file or several, or else in `pytorch_model.bin`, companions
    /// if there are any.
    ///
    /// The second value says in sentences what is not there (a mask token, a head) and what was passed over.
    ///
    /// # Errors
    /// When a file is missing or broken, a field of the configuration is missing or unsupported, or names or shapes of
    /// tensors are not those of the configuration.
    pub fn read(folder: &Path) -> Result<(HfModel, Vec<String>)> {
        let config = folder.join(CONFIG);
        let mut description = Description::from_config_json(&config, &read_up_to(&config, CONFIG_LIMIT)?)?;
        let theirs = read_weights(folder)?;
        let mapped = to_ours(description.transformers_names(), Some(description.counts()), &theirs)?;
        drop(theirs);
        set_mask_token(&mut description, &mapped.tensors);
        description.check_shapes(&mapped.tensors)?;
        let mut companions = BTreeMap::new();
        for name in COMPANIONS {
            let path = folder.join(name);
            if path.is_file() {
                companions.insert(name.to_owned(), read_up_to(&path, COMPANION_LIMIT)?);
            }
        }
        Ok((HfModel { description, tensors: mapped.tensors, companions }, mapped.notes))
    }

    /// Writes a folder, which is made if need be. Each file appears whole, `config.json` last: a folder that has it is
    /// complete.
    ///
    /// The returned sentences say what stays behind and what is filled up.
    ///
    /// # Errors
    /// When tensors are missing, unexpected or of another shape than described, a companion is none that such a folder
    /// has, the folder already holds a `config.json`, or writing fails.
    pub fn write(&self, folder: &Path) -> Result<Vec<String>> {
        let mut description = self.description.clone();
        set_mask_token(&mut description, &self.tensors);
        description.check_shapes(&self.tensors)?;
        let mapped = from_ours(description.transformers_names(), description.counts(), &self.tensors)?;
        if let Some(name) = self.companions.keys().find(|name| !COMPANIONS.contains(&name.as_str())) {
            let why = format!("a companion {name:?} is not known; known are {}", COMPANIONS.join(", "));
            return Err(Error::malformed(folder, why));
        }
        let config = folder.join(CONFIG);
        if config.exists() {
            return Err(Error::malformed(
                &config,
                "it is already there; name a new folder, or remove this one first",
            ));
        }
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        write_safetensors(&folder.join(SINGLE), &mapped.tensors)?;
        for (name, bytes) in &self.companions {
            write_bytes(&folder.join(name), bytes)?;
        }
        write_bytes(&config, description.to_config_json().as_bytes())?;
        Ok(mapped.notes)
    }
}

fn read_weights(folder: &Path) -> Result<Tensors> {
    let older = folder.join(OLDER_WEIGHTS);
    if has_safetensors(folder) || !older.is_file() {
        read_safetensors_folder(folder)
    } else {
        TorchFile::open(&older)?.tensors(&[], &[])
    }
}

/// The tensors know better than the configuration whether there is a mask token.
fn set_mask_token(description: &mut Description, tensors: &Tensors) {
    let there = tensors.contains_key("front_end.mask_token");
    match description {
        Description::Vision(vision) => vision.mask_token = there,
        Description::Audio(audio) => audio.mask_token = there,
        // A text network masks with a token of its vocabulary.
        Description::Text(_) => {}
    }
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |aside| fs::write(aside, bytes).map_err(Error::io(path)))
}
