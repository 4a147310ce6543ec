//! The trained networks and images that may stand beside the checkout.

use std::path::{Path, PathBuf};

/// The folder `shared` beside the checkout; `None`, and a line that says so, where it is absent.
///
/// # Panics
/// It is absent and `SEAM_REQUIRE_SHARED=1`.
pub fn folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    if path.join("MANIFEST.json").is_file() {
        return Some(path);
    }
    let required = std::env::var_os("SEAM_REQUIRE_SHARED").is_some_and(|v| v == "1");
    assert!(!required, "SEAM_REQUIRE_SHARED=1, and {} is not there", path.display());
    println!("skipped: {} is not there", path.display());
    None
}

/// How the network of that name wants its images, as `MANIFEST.json` says.
///
/// # Panics
/// There is no such network.
pub fn preprocess(folder: &Path, name: &str) -> seam_runtime::Preprocess {
    let manifest = std::fs::read(folder.join("MANIFEST.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let models = manifest["models"].as_array().expect("models");
    let model = models.iter().find(|m| m["name"] == name).expect("the network");
    model["preprocess"].to_string().parse().expect("rules")
}

/// The first `count` images of a set, by name.
///
/// # Panics
/// The set has fewer.
pub fn images(folder: &Path, set: &str, count: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("images").join(set)).expect("an image set");
    let mut files: Vec<_> = entries
        .map(|e| e.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpg" || e == "png"))
        .collect();
    files.sort();
    assert!(files.len() >= count);
    files.truncate(count);
    files
}
