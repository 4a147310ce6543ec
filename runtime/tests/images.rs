//! Images are decoded as Pillow's `convert` does, and unreadable ones are refused by name.
#![cfg(feature = "image")]

use std::path::Path;

use seam_kernels::Shape;
use seam_runtime::image::{decode, load};
use seam_runtime::preprocess::{Channels, Preprocess};
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/images"))
}

/// `images/`: random pixels written by Pillow 13 in its modes; `expected.json`: its conversions.
#[test]
fn every_kind_of_png_is_converted_as_pillow_does() {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let files = expected.as_object().unwrap();
    assert_eq!(files.len(), 9);
    for (file, expected) in files {
        let image = load(&folder().join(file)).unwrap();
        for (key, order) in [("rgb", Channels::Rgb), ("l", Channels::Gray)] {
            let shape = Shape::new(4, 5, order.count());
            let found = Preprocess::new(order).pixels(&image, shape).unwrap();
            let expected = expected[key].as_array().unwrap();
            let expected: Vec<u8> = expected.iter().map(|v| v.as_u64().unwrap() as u8).collect();
            assert_eq!(found, expected, "{file} as {key}");
        }
    }
}

#[test]
fn unreadable_images_are_refused_by_name() {
    let missing = load(Path::new("no/such/image.png")).unwrap_err().to_string();
    assert!(missing.contains("no/such/image.png"), "{missing}");
    let folder_path = tempfile::tempdir().unwrap();
    let path = folder_path.path().join("noise.jpg");
    std::fs::write(&path, b"not an image at all").unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("noise.jpg") && error.contains("neither JPEG nor PNG"), "{error}");
    let png = std::fs::read(folder().join("rgb.png")).unwrap();
    for len in 0..png.len() - 12 {
        let _ = decode(&png[..len]);
    }
    assert!(decode(&png[..60]).is_err());
    assert!(decode(b"").is_err());
}
