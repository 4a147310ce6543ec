//! The images that a command works on: files of a folder, or rows of a list of labels.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use seam_kernels::Shape;
use seam_runtime::Preprocess;

/// An image file and, from a list, its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) path: PathBuf,
    pub(crate) label: Option<usize>,
}

/// The JPEG and PNG files of `folder` sorted by name, or with `labels` the rows of that list in
/// their order.
pub(crate) fn list(folder: &Path, labels: Option<&Path>) -> Result<Vec<Item>> {
    let items = match labels {
        Some(labels) => rows(folder, labels)?,
        None => files(folder)?,
    };
    ensure!(!items.is_empty(), "{} holds no JPEG or PNG image", folder.display());
    Ok(items)
}

fn files(folder: &Path) -> Result<Vec<Item>> {
    let read = || format!("cannot read the image folder {}", folder.display());
    let mut items = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if ["jpg", "jpeg", "png"].contains(&extension.to_ascii_lowercase().as_str()) {
            items.push(Item { path, label: None });
        }
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

/// `file,label` in each row, under an optional heading; files are named from `folder`.
fn rows(folder: &Path, labels: &Path) -> Result<Vec<Item>> {
    let text = std::fs::read_to_string(labels)
        .with_context(|| format!("cannot read the labels {}", labels.display()))?;
    let mut items = Vec::new();
    for (i, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let wrong =
            |what: &str| format!("{} row {}: {what}, a row is file,label", labels.display(), i + 1);
        let Some((file, label)) = row.rsplit_once(',') else { bail!(wrong("no comma")) };
        match label.trim().parse() {
            Ok(label) => items.push(Item { path: folder.join(file.trim()), label: Some(label) }),
            Err(_) if i == 0 => {}
            Err(_) => bail!(wrong("the label is no class number")),
        }
    }
    Ok(items)
}

/// The pixels of one image in the network's size.
pub(crate) fn pixels(
    path: &Path,
    preprocess: &Preprocess,
    input: Shape,
) -> seam_runtime::Result<Vec<u8>> {
    let image = seam_runtime::image::load(path)?;
    preprocess.pixels(&image, input).map_err(|e| e.in_file(path))
}

/// A bar on stderr, if that is a terminal.
pub(crate) fn progress(total: usize, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_message(message);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_sorted_and_lists_keep_their_order() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["b.png", "a.JPG", "c.txt"] {
            std::fs::write(folder.path().join(name), b"").expect("file");
        }
        let names = |items: &[Item]| -> Vec<String> {
            let name = |i: &Item| i.path.file_name()?.to_str().map(str::to_string);
            items.iter().filter_map(name).collect()
        };
        assert_eq!(names(&list(folder.path(), None).expect("files")), ["a.JPG", "b.png"]);
        let labels = folder.path().join("labels.csv");
        std::fs::write(&labels, "file,label\nb.png,7\na.JPG,0\n").expect("labels");
        let items = list(folder.path(), Some(&labels)).expect("rows");
        assert_eq!(names(&items), ["b.png", "a.JPG"]);
        assert_eq!(items[0].label, Some(7));
        std::fs::write(&labels, "b.png,seven\nb.png,eight\n").expect("labels");
        let error = list(folder.path(), Some(&labels)).expect_err("no number").to_string();
        assert!(error.contains("row 2"), "{error}");
    }

    #[test]
    fn images_that_are_unreadable_or_of_another_size_are_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("broken.jpg");
        std::fs::write(&path, b"\xff\xd8 no image").expect("file");
        let preprocess: Preprocess = "channels:GRAY".parse().expect("rules");
        let shape = Shape::new(4, 4, 1);
        let refused = |path: &Path| {
            let error = pixels(path, &preprocess, shape).expect_err("refused").to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert!(refused(&path).contains("broken.jpg"));
        assert!(refused(&folder.path().join("none.png")).contains("none.png"));
        // A valid PNG of one black pixel.
        let dot = folder.path().join("dot.png");
        let bytes: &[u8] = &[
            0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52,
            0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 0x0a, 0x49,
            0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x60, 0, 0, 0, 2, 0, 1, 0x48, 0xaf, 0xa4, 0x71, 0,
            0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
        ];
        std::fs::write(&dot, bytes).expect("file");
        let error = refused(&dot);
        assert!(error.contains("dot.png") && error.contains("1x1"), "{error}");
    }
}
