//! A user's own colour pictures, from training to restored pictures, on both devices.

use std::fs;
use std::path::Path;

use crate::common::program::{fail, succeed};
use crate::common::sets::{assert_has, temporary};
use diabolo::data::npy;
use image::{Rgb, RgbImage};

const RECIPE: &str = r#"
name = "pictures"

[data]
name = "images"
path = "pictures"
height = 12
width = 16

[model]
convolutions = [
    { channels = 6, kernel = 3, pool = "average" },
    { channels = 8, kernel = 3, stride = 2 },
]
code = 5
activation = "elu"

[noise]
gaussian = 0.2

[train]
epochs = 2
batch = 8
learning_rate = 1e-2

[evaluate]
labels = [10]
draws = 3
noise_levels = [0.2, 0.5]
"#;

/// Runs a command that must fail, with all of `parts` in its message.
fn refuse(folder: &Path, arguments: &[&str], parts: &[&str]) {
    assert_has(&fail(folder, arguments), parts);
}

/// Pictures of two classes: red ones bright to the left, blue ones bright at the top.
fn save_pictures(folder: &Path) {
    for index in 0..60u32 {
        let class = ["red", "blue"][index as usize % 2];
        let picture = RgbImage::from_fn(32, 24, |x, y| {
            let bright = (255 * (index + 40) / 100) as u8;
            match class {
                "red" => Rgb([bright - (x * 3) as u8, 20, 30]),
                _ => Rgb([10, 40, bright - (y * 4) as u8]),
            }
        });
        let path = folder.join("pictures").join(class);
        fs::create_dir_all(&path).expect("made");
        picture
            .save(path.join(format!("{index}.png")))
            .expect("saved");
    }
}

fn size_and_colour(path: &Path) -> ([u32; 2], image::ColorType) {
    let picture = image::open(path).expect("a picture");
    ([picture.height(), picture.width()], picture.color())
}

fn from_training_to_restored_pictures(device: &str) {
    let folder = temporary();
    let path = folder.path();
    save_pictures(path);
    fs::write(path.join("pictures.toml"), RECIPE).expect("written");

    let run = ["run", "pictures.toml", "--device", device, "--json"];
    let summary: serde_json::Value = serde_json::from_str(&succeed(path, &run)).expect("JSON");
    let features = summary["few_label"][1]["mean"].as_f64();
    assert!(features.expect("judged") > 0.9, "{summary}");
    let levels = summary["denoising"].as_array().expect("judged");
    assert_eq!(levels.len(), 2);
    // The two σ in dB, to a thousandth of the pixels' count.
    for (level, decibels) in levels.iter().zip([13.98, 6.02]) {
        let noisy = level["psnr_noisy"].as_f64().expect("a number");
        assert!((noisy - decibels).abs() < 0.5, "{level}");
        let similarity = level["ssim_restored"].as_f64().expect("large enough");
        assert!((-1.0..=1.0).contains(&similarity), "{level}");
    }
    let (_, colour) = size_and_colour(&path.join("runs/pictures-0/reconstructions.png"));
    assert_eq!(colour, image::ColorType::Rgb8);

    let on = |arguments: &[&str]| {
        let device = ["--device", device];
        succeed(path, &[arguments, &device].concat())
    };
    let again = on(&["evaluate", "runs/pictures-0", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again, summary["few_label"]);

    // One picture, a folder with its names, an array whose noise leaves [0, 1].
    let denoise = |input: &str, out: &str| {
        let names = ["--input", input, "--out", out];
        on(&[&["denoise", "runs/pictures-0"][..], &names].concat())
    };
    denoise("pictures/red/0.png", "one.png");
    let restored = size_and_colour(&path.join("one.png"));
    assert_eq!(restored, ([12, 16], image::ColorType::Rgb8));
    denoise("pictures", "restored");
    for name in ["restored/red/0.png", "restored/blue/59.png"] {
        assert_eq!(size_and_colour(&path.join(name)), restored, "{name}");
    }
    let noisy: Vec<f32> = (0..2 * 12 * 16 * 3)
        .map(|i| (i % 7) as f32 / 4.0 - 0.3)
        .collect();
    npy::write_array(&path.join("noisy.npy"), &[2, 12, 16, 3], &noisy).expect("written");
    denoise("noisy.npy", "clean.npy");
    let clean = npy::read_images(&path.join("clean.npy"), diabolo::data::Range::Clean);
    assert_eq!(clean.expect("an array").shape().to_string(), "12×16×3");
}

#[test]
fn the_cpu_goes_from_training_to_restored_pictures() {
    from_training_to_restored_pictures("cpu");
}

#[test]
fn the_gpu_goes_from_training_to_restored_pictures() {
    let adapter = diabolo::device::any_gpu(Default::default()).expect("opens");
    if adapter.is_some() || std::env::var_os("DIABOLO_REQUIRE_GPU").is_some() {
        from_training_to_restored_pictures("gpu");
    } else {
        println!("skipped: no GPU adapter, not even a software one");
    }
}

#[test]
fn layers_that_do_not_fit_the_pictures_are_refused_with_their_shapes() {
    let folder = temporary();
    let path = folder.path();
    save_pictures(path);
    for (from, to, parts) in [
        (
            "{ channels = 8, kernel = 3, stride = 2 }",
            "{ channels = 8, kernel = 9, padding = 0 }",
            &["convolution 2", "6×8×6", "[9, 9]", "[6, 8]"][..],
        ),
        (
            "stride = 2",
            "stride = 0",
            &["model.convolutions.stride = [0, 0]", "1 to 4096"],
        ),
        ("height = 12", "height = 13", &["13×16×6", "not even"]),
        ("channels = 6", "channels = 0", &["channels = 0"]),
        (
            "kernel = 3",
            "kernel = \"three\"",
            &["pair [rows, columns]"],
        ),
    ] {
        assert!(RECIPE.contains(from), "{from}");
        fs::write(path.join("wrong.toml"), RECIPE.replacen(from, to, 1)).expect("written");
        refuse(path, &["run", "wrong.toml", "--device", "cpu"], parts);
        assert!(!path.join("runs").exists(), "nothing is begun");
    }
}

#[test]
fn what_cannot_be_denoised_is_refused_and_nothing_is_written() {
    let folder = temporary();
    let path = folder.path();
    save_pictures(path);
    let quick = RECIPE.replace("labels = [10]", "labels = []");
    fs::write(path.join("pictures.toml"), quick).expect("written");
    succeed(
        path,
        &["run", "pictures.toml", "--device", "cpu", "--out", "run"],
    );
    let array = |name: &str, value: f32| {
        npy::write_array(&path.join(name), &[1, 12, 16, 3], &[value; 576]).expect("written");
    };
    array("bytes.npy", 200.0);
    array("nan.npy", f32::NAN);
    npy::write_array(&path.join("wide.npy"), &[1, 2, 3, 3], &[0.5; 18]).expect("written");
    let (red, blue) = (
        path.join("pictures/red/0.png"),
        path.join("pictures/red/0.jpg"),
    );
    image::open(red)
        .expect("a picture")
        .save(blue)
        .expect("saved");
    for (input, out, parts) in [
        ("pictures", "out", &["0.jpg", "0.png", "rename one"][..]),
        ("bytes.npy", "out.npy", &["200", "divide"]),
        ("nan.npy", "out.npy", &["NaN"]),
        ("wide.npy", "out.npy", &["2×3×3", "12×16×3"]),
        ("absent.png", "out.png", &["absent.png"]),
        ("pictures/red/0.png", "out.npy", &["ends in .png"]),
        ("pictures/red/0.png", "pictures", &["ends in .png"]),
        ("pictures", "run", &["is there already", "--force"]),
    ] {
        let arguments = ["denoise", "run", "--input", input, "--out", out];
        refuse(path, &arguments, parts);
        for name in ["out", "out.npy", "out.png"] {
            assert!(!path.join(name).exists(), "{name}");
        }
    }
}
