//! `diabolo data`, and runs on data of one's own, as users meet them.

use std::fs;

use crate::common::program::{fail, misuse, succeed};
use crate::common::sets::{assert_has, save, temporary};
use diabolo::data::npy;
use tempfile::TempDir;

struct Command {
    folder: TempDir,
}

impl Command {
    fn succeeds(&self, arguments: &[&str]) -> String {
        succeed(self.folder.path(), arguments)
    }

    fn fails(&self, arguments: &[&str], parts: &[&str]) {
        assert_has(&fail(self.folder.path(), arguments), parts);
    }

    fn picture(&self, name: &str) -> (u32, u32, image::ColorType) {
        let image = image::open(self.folder.path().join(name)).expect("a picture");
        (image.height(), image.width(), image.color())
    }
}

fn command() -> Command {
    Command {
        folder: temporary(),
    }
}

#[test]
fn the_command_lists_and_describes_data_sets() {
    let command = command();
    let list: serde_json::Value =
        serde_json::from_str(&command.succeeds(&["data", "list", "--json"])).unwrap();
    let names: Vec<&str> = (0..5).map(|i| list[i]["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["mnist", "fashion-mnist", "cifar10", "images", "npy"]
    );
    assert_eq!(list[0]["whereabouts"], "embedded");
    assert_eq!(list[2]["whereabouts"], "absent");
    let folder = command
        .folder
        .path()
        .join("cache/cifar10/cifar-10-batches-bin");
    fs::create_dir_all(&folder).unwrap();
    let table = command.succeeds(&["data", "list"]);
    assert_has(&table, &["50,000 + 10,000", "32 × 32, colour", "yours"]);
    let info = command.succeeds(&["data", "info", "cifar10"]);
    assert_has(
        &info,
        &["airplane, automobile", folder.to_str().unwrap(), "c4a38c50"],
    );
    let info = command.succeeds(&["data", "info", "cifar10", "--json"]);
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["whereabouts"]["at"], folder.to_str().unwrap());
    command.fails(
        &["data", "info", "emnist"],
        &["\"emnist\"", "fashion-mnist"],
    );
}

#[test]
fn the_command_fetches_only_what_can_be_fetched() {
    let command = command();
    assert_has(
        &command.succeeds(&["data", "fetch", "mnist"]),
        &["nothing to fetch"],
    );
    command.fails(&["data", "fetch", "images"], &["your own", "data.path"]);
    command.fails(&["data", "fetch", "emnist"], &["\"emnist\"", "cifar10"]);
    fs::write(command.folder.path().join("cache"), "a file").unwrap();
    command.fails(
        &["data", "fetch", "cifar10"],
        &["cifar-10-binary.tar.gz", "170052171 bytes", "--cache DIR"],
    );
}

#[test]
fn the_command_draws_a_row_per_class() {
    let command = command();
    let show = [
        "data",
        "show",
        "mnist",
        "--out",
        "digits.png",
        "--count",
        "3",
    ];
    assert_has(&command.succeeds(&show), &["digits.png", "rows: 0, 1, 2"]);
    let (height, width, colour) = command.picture("digits.png");
    assert_eq!((height, width), (10 * (84 + 6) + 6, 3 * (84 + 6) + 6));
    assert_eq!(colour, image::ColorType::L8);
    command.fails(&show, &["digits.png is there already", "--force"]);

    let pictures = command.folder.path().join("pictures");
    for (name, value) in [("a/1", 1), ("a/2", 2), ("b/1", 3), ("b/2", 4), ("b/3", 5)] {
        save(pictures.join(format!("{name}.png")), 40, 50, [value; 3]);
    }
    let show = [
        "data", "show", "images", "--path", "pictures", "--out", "grid.png",
    ];
    assert_has(&command.succeeds(&show), &["grid.png", "rows: 0, 1"]);
    assert_eq!(command.picture("grid.png").2, image::ColorType::Rgb8);
    command.fails(
        &["data", "show", "images", "--out", "x.png"],
        &["data.path", "of your own"],
    );
    command.fails(
        &[
            "data", "show", "cifar10", "--path", "pictures", "--out", "x.png",
        ],
        &["pictures lacks data_batch_1.bin"],
    );
    assert!(!command.folder.path().join("x.png").exists());
}

#[test]
fn a_model_trains_on_a_folder_of_colour_pictures_without_labels() {
    let command = command();
    let pictures = command.folder.path().join("pictures");
    for index in 0..40_u8 {
        save(
            pictures.join(format!("{index}.png")),
            6,
            5,
            [index, 128, 255 - index],
        );
    }
    let recipe = |labels: &str| {
        let data = "name = \"images\"\npath = \"pictures\"\nheight = 6\nwidth = 5";
        let recipe = include_str!("common/small.toml");
        let recipe = recipe
            .replace(
                "name = \"mnist\"\ntrain_images = 600\ntest_images = 130",
                data,
            )
            .replace("batch = 64", "batch = 8")
            .replace("labels = [20, 50, 600]", labels);
        fs::write(command.folder.path().join("small.toml"), recipe).unwrap();
    };
    let run = ["run", "small.toml", "--device", "cpu", "--out", "run"];
    recipe("labels = [20]");
    command.fails(&run, &["evaluate.labels = [20]", "pictures has no labels"]);
    recipe("labels = []");
    command.succeeds(&run);
    let (height, width, colour) = command.picture("run/reconstructions.png");
    assert_eq!((height, width), (3 * (18 + 6) + 6, 4 * (15 + 6) + 6));
    assert_eq!(colour, image::ColorType::Rgb8);

    // Pictures of any size and kind are brought to the model's.
    save(command.folder.path().join("other.jpg"), 30, 20, [9; 3]);
    for (input, rows) in [("other.jpg", 1), ("pictures", 40)] {
        let out = format!("{input}.npy");
        command.succeeds(&["encode", "run", "--input", input, "--out", &out]);
        let codes = npy::read_matrix(&command.folder.path().join(out)).unwrap();
        assert_eq!((codes.rows, codes.cols), (rows, 6));
    }
}

#[test]
fn made_up_images_are_data_to_train_on_and_are_never_replaced_unasked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let make = [
        "data",
        "synthetic",
        "--images",
        "300",
        "--size",
        "8x6",
        "--out",
        "x",
        "--labels",
        "y",
    ];
    succeed(folder.path(), &make);
    assert!(fail(folder.path(), &make).contains("--force"));
    let again = [&make[..], &["--seed", "1", "--force"]].concat();
    succeed(folder.path(), &again);
    for (wrong, part) in [
        ("0x5", "28x28"),
        ("5", "28x28"),
        ("99999x99999", "16777216"),
    ] {
        let arguments = [
            "data",
            "synthetic",
            "--images",
            "3",
            "--size",
            wrong,
            "--out",
            "z",
        ];
        assert_has(&misuse(folder.path(), &arguments), &[part]);
    }
    misuse(
        folder.path(),
        &[
            "data",
            "synthetic",
            "--images",
            "3",
            "--out",
            "z",
            "--labels",
            "z",
        ],
    );

    let recipe = include_str!("common/small.toml")
        .replace("\"mnist\"", "\"npy\"\npath = \"x\"\nlabels = \"y\"")
        .replace("600", "200")
        .replace("130", "30")
        .replace("train_images = 200\n", "")
        .replace("[20, 50, 200]", "[20]");
    std::fs::write(folder.path().join("recipe.toml"), recipe).expect("written");
    let run = |more: &[&str]| {
        let arguments = ["run", "recipe.toml", "--device", "cpu", "--json"];
        let summary = succeed(folder.path(), &[&arguments, more].concat());
        let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
        summary["weights_sha256"].clone()
    };
    // Four steps an epoch.
    let digest = run(&["--out", "resident"]);
    assert_eq!(run(&["--out", "streamed", "--window", "3"]), digest);
}
