//! Makes a folder of pictures, opens it and prints some batches: `cargo run -p d2v-data --example load_folder`.

use d2v_data::{
    BatchSize, Cursor, Dataset, ImageTransform, Loader, LoaderConfig, OpenOptions, RawSample, Split,
    SyntheticConfig, SyntheticImages, Transform, open,
};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("d2v-data-example-{}", std::process::id()));
    write_pictures(&folder)?;
    let result = print_batches(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

/// Twenty of the built-in pictures as PNG files, in a folder per class, and one that is damaged.
fn write_pictures(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = SyntheticImages::new(SyntheticConfig::default(), Split::Train)?;
    for index in 0..20 {
        let class = pictures.label(index).map_or("none", |label| &pictures.classes()[label as usize]);
        let class_folder = folder.join("train").join(class);
        std::fs::create_dir_all(&class_folder)?;
        let RawSample::Image(picture) = pictures.load(index)? else { continue };
        let path = class_folder.join(format!("{index}.png"));
        image::save_buffer(
            path,
            picture.as_bytes(),
            picture.width(),
            picture.height(),
            image::ColorType::Rgb8,
        )?;
    }
    std::fs::write(folder.join("train").join("ring of checks").join("damaged.jpg"), "not a picture")?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example")]
fn print_batches(folder: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = open(folder, Split::Train, &OpenOptions::default())?;
    println!("{} pictures of {} classes", pictures.len(), pictures.classes().len());

    let config = LoaderConfig {
        batch: BatchSize::Samples(7),
        transform: Transform::Image(ImageTransform::small(32, 3)),
        ..LoaderConfig::default()
    };
    let mut loader = Loader::new(Arc::from(pictures), config, Cursor::default())?;
    for batch in loader.by_ref().take(4) {
        let batch = batch?;
        let labels: Vec<u32> = batch.labels().into_iter().flatten().collect();
        let mean = batch.images().expect("pictures").mean().unwrap_or_default();
        println!(
            "epoch {} batch {}: labels {labels:?}, shape {:?}, mean {mean:.3}",
            batch.epoch,
            batch.batch_in_epoch,
            batch.images().expect("pictures").dim()
        );
    }
    for skipped in loader.skipped() {
        println!("replaced: {}", skipped.reason);
    }
    Ok(())
}
