//! Preprocessing is Pillow's to the bit, its text is read and written without loss, and what does
//! not fit is refused by name.

use seam_kernels::Shape;
use seam_runtime::preprocess::{Channels, Geometry, Pixels, Preprocess, codes};
use serde_json::Value;

fn bytes(json: &Value) -> Vec<u8> {
    json.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u8).collect()
}

fn sides(json: &Value) -> [usize; 2] {
    [json[0].as_u64().unwrap() as usize, json[1].as_u64().unwrap() as usize]
}

/// `pillow.json`: random pixels, and what Pillow makes of them (sizes for which Pillow 13 keeps the
/// order of passes of its forerunners).
#[test]
fn resize_and_luma_are_pillows() {
    let fixture: Value = serde_json::from_str(include_str!("pillow.json")).unwrap();
    for case in fixture["resize"].as_array().unwrap() {
        let ([h, w], [oh, ow]) = (sides(&case["from"]), sides(&case["to"]));
        let channels = case["channels"].as_u64().unwrap() as usize;
        let image = Pixels::new(h, w, channels, bytes(&case["pixels"])).unwrap();
        let order = if channels == 1 { Channels::Gray } else { Channels::Rgb };
        let resize = Geometry::Resize { height: oh as u32, width: ow as u32 };
        let preprocess = Preprocess { geometry: vec![resize], ..Preprocess::new(order) };
        let found = preprocess.pixels(&image, Shape::new(oh, ow, channels)).unwrap();
        assert_eq!(found, bytes(&case["resized"]), "{}", case["name"]);
    }
    let luma = &fixture["luma"];
    let image = Pixels::new(8, 8, 3, bytes(&luma["rgb"])).unwrap();
    let gray = Preprocess::new(Channels::Gray);
    assert_eq!(gray.pixels(&image, Shape::new(8, 8, 1)).unwrap(), bytes(&luma["l"]));
}

#[test]
fn text_and_json_are_read_and_written_without_loss() {
    let text = "short-side:256,center-crop:224x160,resize:128,channels:BGR,scale:0.00392156862745098,\
                mean:0.485:0.456:0.406,std:0.229:0.224:0.225";
    let preprocess: Preprocess = text.parse().unwrap();
    assert_eq!(
        preprocess.geometry,
        [
            Geometry::ShortSide(256),
            Geometry::CenterCrop { height: 224, width: 160 },
            Geometry::Resize { height: 128, width: 128 },
        ]
    );
    assert_eq!(preprocess.channels, Channels::Bgr);
    assert_eq!(preprocess.scale, 1.0 / 255.0);
    assert_eq!(preprocess.mean, [0.485, 0.456, 0.406]);
    assert_eq!(preprocess.to_string().parse::<Preprocess>().unwrap(), preprocess);

    let json = r#"{"center_crop": 198, "resize": 128, "channels": "RGB", "formula": "ignored",
                   "mean": [1, 1, 1], "std": [1, 1, 1], "scale": 0.00784313725490196}"#;
    let from_json: Preprocess = json.parse().unwrap();
    let same = "center-crop:198,resize:128,scale:0.00784313725490196,mean:1,std:1";
    assert_eq!(from_json, same.parse().unwrap());
    assert_eq!(Preprocess::from_json(&from_json.to_json()).unwrap(), from_json);
    let none: Preprocess =
        r#"{"center_crop": 0, "resize": 0, "channels": "GRAY"}"#.parse().unwrap();
    assert_eq!(none, Preprocess::new(Channels::Gray));
    assert_eq!("".parse::<Preprocess>().unwrap(), Preprocess::new(Channels::Rgb));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.txt");
    std::fs::write(&path, format!("{}\n", text.replace(',', "\n"))).unwrap();
    assert_eq!(Preprocess::from_argument(path.to_str().unwrap()).unwrap(), preprocess);
}

#[test]
fn rules_that_make_no_sense_are_refused_by_name() {
    for (text, word) in [
        ("crop:5", "no rule `crop`"),
        ("resize:0", "resize:0"),
        ("resize:12x", "resize"),
        ("resize:99999999", "resize:99999999"),
        ("short-side:-1", "short-side"),
        ("channels:RGBA", "RGBA"),
        ("scale:0", "scale"),
        ("scale:inf", "scale"),
        ("mean:1:2", "mean has 2 values"),
        ("mean:1:x:3", "not a number"),
        ("std:1:0:1", "std"),
        ("scale:1,scale:2", "twice"),
        ("{\"scale\": ", "EOF"),
        ("{\"resize\": true}", "resize"),
    ] {
        let error = text.parse::<Preprocess>().expect_err(text).to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn crops_round_down_and_sizes_that_do_not_fit_are_named() {
    let image = Pixels::new(4, 5, 1, (0..20).collect()).unwrap();
    let crop: Preprocess = "center-crop:3x2,channels:GRAY".parse().unwrap();
    let found = crop.pixels(&image, Shape::new(3, 2, 1)).unwrap();
    assert_eq!(found, [1, 2, 6, 7, 11, 12]);
    // A luma image for a colour network: three equal channels.
    let colour: Preprocess = "center-crop:1x2".parse().unwrap();
    assert_eq!(colour.pixels(&image, Shape::new(1, 2, 3)).unwrap(), [6, 6, 6, 7, 7, 7]);

    let error = Preprocess::new(Channels::Gray).pixels(&image, Shape::new(9, 8, 1)).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("4x5") && error.contains("9x8"), "{error}");
    let large: Preprocess = "center-crop:6".parse().unwrap();
    let error = large.pixels(&image, Shape::new(6, 6, 3)).unwrap_err().to_string();
    assert!(error.contains("4x5") && error.contains("center-crop:6x6"), "{error}");
    assert!(Pixels::new(2, 2, 3, vec![0; 11]).is_err());
}

#[test]
fn short_side_keeps_the_aspect() {
    let rules: Preprocess = "short-side:6,channels:GRAY".parse().unwrap();
    for (h, w, expected) in [(12, 18, (6, 9)), (18, 12, (9, 6)), (4, 5, (6, 7)), (7, 7, (6, 6))] {
        let image = Pixels::new(h, w, 1, vec![7; h * w]).unwrap();
        let found = rules.pixels(&image, Shape::new(expected.0, expected.1, 1)).unwrap();
        assert_eq!(found, vec![7; expected.0 * expected.1]);
    }
}

#[test]
fn codes_are_the_quantized_normalized_pixels() {
    let rules: Preprocess =
        "channels:BGR,scale:0.00392156862745098,mean:0.485:0.456:0.406,std:0.229:0.224:0.225"
            .parse()
            .unwrap();
    let image = Pixels::new(1, 2, 3, vec![10, 20, 30, 250, 128, 0]).unwrap();
    let pixels = rules.pixels(&image, Shape::new(1, 2, 3)).unwrap();
    assert_eq!(pixels, [30, 20, 10, 0, 128, 250], "blue first");
    let mut found = [0; 6];
    codes(&rules.tables(0.0186, 114), &pixels, &mut found);
    let planes = rules.to_f32(&pixels);
    for (i, &code) in found.iter().enumerate() {
        let value = planes[i % 3 * 2 + i / 3];
        let pixel = f32::from(pixels[i]) * (1.0 / 255.0);
        assert_eq!(value, (pixel - rules.mean[i % 3]) / rules.std[i % 3]);
        let expected = ((value / 0.0186).round_ties_even() + 114.0).clamp(0.0, 255.0);
        assert_eq!(f32::from(code), expected);
    }
}
