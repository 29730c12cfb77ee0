//! Data sets as users bring them: files of the real formats, made here, whole and broken.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use diabolo::data::catalogue::{Colour, Selection, load, load_from};
use diabolo::data::{DataError, Dataset, Images, Pixels, folder, npy};
use flate2::{Compression, write::GzEncoder};
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::TempDir;

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn select(name: &str, path: &Path) -> Selection {
    Selection {
        path: Some(path.to_owned()),
        ..Selection::named(name)
    }
}

/// The message of what must have failed. Data itself would fill the screen.
fn message<T>(result: Result<T, DataError>) -> String {
    let error = result.err().expect("must fail");
    error.to_string()
}

fn failure(selection: &Selection) -> String {
    message(load(selection, 0))
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

fn bytes(images: &Images) -> &[u8] {
    match &images.pixels {
        Pixels::Bytes(bytes) => bytes,
        Pixels::Real(_) => panic!("expected bytes"),
    }
}

// CIFAR-10

const BATCHES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// A record whose planes are each of one value.
fn record(label: u8, rgb: [u8; 3]) -> Vec<u8> {
    let mut record = vec![label];
    for value in rgb {
        record.extend([value; 1024]);
    }
    record
}

/// Batch `index`: two records that say so.
fn batch(index: usize) -> Vec<u8> {
    let index = index as u8;
    let first = record(index, [index, 100, 200]);
    [first, record(9, [50, index, 60])].concat()
}

fn cifar_folder() -> TempDir {
    let folder = temporary();
    for (index, name) in BATCHES.iter().enumerate() {
        fs::write(folder.path().join(name), batch(index)).unwrap();
    }
    folder
}

fn check_cifar(data: &Dataset) {
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (10, 2, 10)
    );
    assert_eq!(data.train.shape(), [32, 32, 3]);
    assert_eq!(data.train_labels, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
    assert_eq!(data.test_labels, [5, 9]);
    assert_eq!(
        bytes(&data.train)[2 * 3072..][..6],
        [1, 100, 200, 1, 100, 200]
    );
    assert_eq!(bytes(&data.test)[2 * 3072 - 3..], [50, 5, 60]);
}

/// A gzip tar archive of files, written without the checks of a well-behaved archiver.
fn archive(path: &Path, files: &[(&str, Vec<u8>)]) {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    fs::write(path, builder.into_inner().unwrap().finish().unwrap()).unwrap();
}

fn whole_archive(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let batches = BATCHES.iter().enumerate();
    batches
        .map(|(index, name)| (format!("{prefix}{name}"), batch(index)))
        .collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, Vec<u8>)> {
    let files = files.iter();
    files
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect()
}

#[test]
fn cifar_is_read_from_its_folder_and_the_folder_above() {
    let folder = cifar_folder();
    check_cifar(&load(&select("cifar10", folder.path()), 0).unwrap());
    let above = temporary();
    let inner = above.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    for name in BATCHES {
        fs::copy(folder.path().join(name), inner.join(name)).unwrap();
    }
    check_cifar(&load(&select("cifar10", above.path()), 0).unwrap());
}

#[test]
fn cifar_is_read_from_its_archive_and_the_folder_that_holds_it() {
    let folder = temporary();
    let path = folder.path().join("cifar-10-binary.tar.gz");
    archive(&path, &borrowed(&whole_archive("cifar-10-batches-bin/")));
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    check_cifar(&load(&select("cifar10", folder.path()), 0).unwrap());
}

#[test]
fn an_archive_that_would_leave_its_folder_leaves_nothing_anywhere() {
    let outer = temporary();
    let folder = outer.path().join("inner");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("cifar-10-binary.tar.gz");
    let hostile = |files: &mut Vec<(&str, Vec<u8>)>| {
        files.push(("../data_batch_1.bin", record(3, [1, 1, 1])));
        files.push(("/tmp/diabolo-hostile/test_batch.bin", record(3, [1, 1, 1])));
        files.push(("cifar-10-batches-bin/../../escaped", vec![1]));
    };
    // Beside the real ones they are passed over.
    let whole = whole_archive("cifar-10-batches-bin/");
    let mut files = borrowed(&whole);
    hostile(&mut files);
    archive(&path, &files);
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    // In their place they are missing.
    let mut files = borrowed(&whole)[1..].to_vec();
    hostile(&mut files);
    archive(&path, &files);
    assert_has(
        &failure(&select("cifar10", &path)),
        &["cifar-10-binary.tar.gz", "lacks data_batch_1.bin"],
    );
    let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!((names(outer.path()), names(&folder)), (1, 1));
    assert!(!Path::new("/tmp/diabolo-hostile").exists());
}

#[test]
fn a_link_in_place_of_a_batch_is_refused() {
    let folder = temporary();
    let path = folder.path().join("links.tar");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    let name = "cifar-10-batches-bin/data_batch_1.bin";
    builder
        .append_link(&mut header, name, "/etc/passwd")
        .unwrap();
    fs::write(&path, builder.into_inner().unwrap()).unwrap();
    assert_has(
        &failure(&select("cifar10", &path)),
        &["links.tar", "data_batch_1.bin is no plain file", "Symlink"],
    );
}

#[test]
fn an_archive_that_is_cut_or_is_none_is_an_error() {
    let folder = temporary();
    let path = folder.path().join("cut.tar.gz");
    archive(&path, &borrowed(&whole_archive("")));
    let whole = fs::read(&path).unwrap();
    check_cifar(&load(&select("cifar10", &path), 0).unwrap());
    for length in [whole.len() - 9, whole.len() / 2, 20, 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_has(&failure(&select("cifar10", &path)), &["cut.tar.gz"]);
    }
    fs::write(&path, vec![b'x'; 5000]).unwrap();
    assert_has(
        &failure(&select("cifar10", &path)),
        &["cut.tar.gz", "tar archive"],
    );
    let twice = [("test_batch.bin", batch(5)), ("test_batch.bin", batch(5))];
    archive(&path, &twice);
    assert_has(
        &failure(&select("cifar10", &path)),
        &["test_batch.bin is in it twice"],
    );
}

#[test]
fn cifar_files_that_are_wrong_are_errors_that_name_them() {
    let folder = cifar_folder();
    let selection = select("cifar10", folder.path());
    let write = |bytes: &[u8]| fs::write(folder.path().join("data_batch_3.bin"), bytes).unwrap();
    write(&vec![0; 3074]);
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "3074 bytes", "multiple of 3073"],
    );
    write(&[]);
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "0 bytes", "at least one"],
    );
    write(&[record(1, [0; 3]), record(10, [0; 3])].concat());
    assert_has(
        &failure(&selection),
        &["data_batch_3.bin", "label 10 at index 1", "below 10"],
    );
    fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
    assert_has(
        &failure(&selection),
        &["lacks data_batch_3.bin", "six files"],
    );
}

#[test]
fn the_cached_copy_of_cifar_must_be_whole() {
    let cache = temporary();
    let failure = || {
        let selection = Selection::named("cifar10");
        message(load_from(&selection, 0, Some(cache.path())))
    };
    assert_has(
        &failure(),
        &[
            "CIFAR-10 is not on this machine",
            "diabolo data fetch cifar10",
        ],
    );
    let folder = cache.path().join("cifar10");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("cifar-10-binary.tar.gz");
    archive(&path, &borrowed(&whole_archive("cifar-10-batches-bin/")));
    assert_has(&failure(), &["data_batch_1.bin", "6146 bytes", "30730000"]);
}

// Fashion-MNIST

#[test]
fn fashion_mnist_loads_from_this_machine() {
    let cache = temporary();
    let data = match load_from(&Selection::named("fashion-mnist"), 0, Some(cache.path())) {
        Err(DataError::Absent { .. }) => {
            eprintln!("skipped: no copy of Fashion-MNIST on this machine");
            return;
        }
        data => data.unwrap(),
    };
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (60_000, 10_000, 10)
    );
    assert_eq!(data.train.shape(), [28, 28, 1]);
    assert_eq!(data.train_labels[..5], [9, 0, 0, 3, 0]);
    assert_eq!(data.test_labels[..5], [9, 2, 1, 1, 6]);
}

#[test]
fn fashion_mnist_that_is_missing_or_another_set_is_an_error() {
    let folder = temporary();
    let selection = select("fashion-mnist", folder.path());
    assert_has(
        &failure(&selection),
        &[
            "Fashion-MNIST",
            "train-images-idx3-ubyte.gz",
            "diabolo data fetch fashion-mnist",
        ],
    );
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
    assert_has(
        &failure(&select("fashion-mnist", &mnist)),
        &[
            "train-images-idx3-ubyte.gz (unpacked)",
            "SHA-256 ba891046",
            "expected c59f468a",
        ],
    );
}

// Folders of pictures

/// A picture of one colour.
fn save(path: PathBuf, height: u32, width: u32, rgb: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb(rgb))
        .save(path)
        .unwrap();
}

#[test]
fn sub_folders_are_classes_in_the_order_of_their_names() {
    let folder = temporary();
    for (class, value) in [("cat", 10), ("ant", 20), ("bee", 30)] {
        for index in 0..10 {
            let path = folder.path().join(format!("{class}/deeper/{index}.PNG"));
            save(path, 2, 3, [value, 1, 2]);
        }
    }
    fs::write(folder.path().join("README"), "not a picture").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    save(folder.path().join(".hidden/x.png"), 5, 5, [0; 3]);
    let selection = select("images", folder.path());
    let data = load(&selection, 1).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (27, 3, 3)
    );
    assert_eq!(data.train.shape(), [2, 3, 3]);
    for (images, labels) in [
        (&data.train, &data.train_labels),
        (&data.test, &data.test_labels),
    ] {
        for (image, &label) in bytes(images).chunks(18).zip(labels) {
            assert_eq!(
                image[..3],
                [[20, 1, 2], [30, 1, 2], [10, 1, 2]][usize::from(label)]
            );
        }
    }
    // The same seed gives the same split, another gives another, and limits cut a shuffled list.
    assert_eq!(load(&selection, 1).unwrap(), data);
    assert_ne!(load(&selection, 2).unwrap().train_labels, data.train_labels);
    let few = Selection {
        train_images: Some(9),
        test_images: Some(1),
        ..selection
    };
    let few = load(&few, 1).unwrap();
    assert_eq!((few.train.count, few.test.count, few.classes), (9, 1, 3));
    assert_eq!(few.train_labels, data.train_labels[..9]);
}

#[test]
fn pictures_without_sub_folders_are_unlabelled() {
    let folder = temporary();
    for index in 0..4 {
        save(
            folder.path().join(format!("{index}.jpg")),
            8,
            8,
            [40 * index; 3],
        );
    }
    let selection = Selection {
        colour: Some(Colour::Grey),
        test_part: Some(0.5),
        ..select("images", folder.path())
    };
    let data = load(&selection, 0).unwrap();
    assert!(!data.is_labelled() && data.train_labels.is_empty());
    assert_eq!((data.train.count, data.test.count), (2, 2));
    assert_eq!(data.train.shape(), [8, 8, 1]);
    let mut means: Vec<u8> = [&data.train, &data.test].map(bytes).concat();
    means = means.into_iter().step_by(64).collect();
    means.sort_unstable();
    for (mean, expected) in means.into_iter().zip([0, 40, 80, 120]) {
        assert!(
            mean.abs_diff(expected) <= 2,
            "JPEG keeps a flat grey: {mean}"
        );
    }
}

#[test]
fn folders_train_and_test_are_the_two_parts() {
    let folder = temporary();
    for (name, value) in [("train/a/1", 1), ("train/b/1", 2), ("test/b/1", 3)] {
        save(folder.path().join(format!("{name}.png")), 1, 1, [value; 3]);
    }
    let selection = select("images", folder.path());
    let data = load(&selection, 0).unwrap();
    assert_eq!(
        (data.train.count, data.test_labels.as_slice()),
        (2, &[1][..])
    );
    assert_eq!(bytes(&data.test), [3, 3, 3]);
    let with_part = Selection {
        test_part: Some(0.1),
        ..selection
    };
    assert_has(
        &failure(&with_part),
        &["data.test_part = 0.1", "train and test"],
    );
    let given = Selection {
        test_path: Some(folder.path().join("test")),
        ..select("images", &folder.path().join("train"))
    };
    assert_eq!(
        load(&given, 0).unwrap(),
        Dataset {
            name: "train".into(),
            ..data
        }
    );
}

#[test]
fn pictures_of_mixed_sizes_are_an_error_until_a_size_is_given() {
    let folder = temporary();
    save(folder.path().join("a.png"), 4, 6, [9; 3]);
    save(folder.path().join("b.png"), 40, 60, [9; 3]);
    save(folder.path().join("c.jpg"), 3, 3, [9; 3]);
    let selection = select("images", folder.path());
    let text = failure(&selection);
    assert_has(&text, &["height × width", "`height` and `width`"]);
    let named = ["a.png is 4 × 6", "b.png is 40 × 60", "c.jpg is 3 × 3"];
    let named = named.map(|part| usize::from(text.contains(&part.replace(" pixels", ""))));
    assert!(named.iter().sum::<usize>() >= 1, "{text}");
    let sized = Selection {
        height: Some(5),
        width: Some(7),
        ..selection
    };
    let data = load(&sized, 0).unwrap();
    assert_eq!(data.train.shape(), [5, 7, 3]);
    assert!(
        bytes(&data.train)
            .iter()
            .all(|value| value.abs_diff(9) <= 2)
    );
}

/// The failure of a folder with one good picture and this file.
fn failure_beside_a_good_one(name: &str, contents: &[u8]) -> String {
    let folder = temporary();
    save(folder.path().join("good.png"), 2, 2, [1; 3]);
    fs::write(folder.path().join(name), contents).unwrap();
    let text = failure(&select("images", folder.path()));
    assert_has(&text, &[name]);
    text
}

fn encoded(image: &image::DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture with some detail, so that a cut file lacks some.
fn noisy(format: ImageFormat) -> Vec<u8> {
    let pixel = |x: u32, y: u32| Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, (x ^ y) as u8]);
    encoded(&RgbImage::from_fn(64, 64, pixel).into(), format)
}

#[test]
fn pictures_cut_anywhere_are_errors_that_name_the_file() {
    for (name, format) in [("x.png", ImageFormat::Png), ("x.jpg", ImageFormat::Jpeg)] {
        let whole = noisy(format);
        for length in [0, 3, 8, 30, whole.len() / 2, whole.len() - 200] {
            failure_beside_a_good_one(name, &whole[..length]);
        }
    }
    let jpeg = noisy(ImageFormat::Jpeg);
    let text = failure_beside_a_good_one("x.jpg", &jpeg[..jpeg.len() - 2]);
    assert_has(&text, &["cut short", "end-of-image"]);
}

#[test]
fn files_that_are_not_what_their_name_says_are_errors_or_read_as_what_they_are() {
    let text = failure_beside_a_good_one("x.png", b"hello, world");
    assert_has(&text, &["neither a PNG nor a JPEG", "hello, w"]);
    let folder = temporary();
    for name in ["a.png", "b.jpg"] {
        let grey = GrayImage::from_pixel(3, 2, Luma([7]));
        fs::write(
            folder.path().join(name),
            encoded(&grey.into(), ImageFormat::Png),
        )
        .unwrap();
    }
    let data = load(&select("images", folder.path()), 0).unwrap();
    assert_eq!(bytes(&data.train), [7; 18]);
}

#[test]
fn a_picture_that_claims_gigabytes_is_an_error() {
    // The size stands after the signature, the length and the name of the first chunk.
    let mut png = noisy(ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let checksum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    failure_beside_a_good_one("huge.png", &png);
    let mut jpeg = noisy(ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let text = failure_beside_a_good_one("huge.jpg", &jpeg);
    assert_has(&text, &["65535 × 65535", "over the limit"]);
}

/// The CRC-32 of PNG.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn cmyk_and_sixteen_bit_pictures_are_errors_that_say_so() {
    let mut jpeg = noisy(ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    // One more component: the length of the segment, their number, and the new one's entry.
    jpeg[frame + 3] += 3;
    jpeg[frame + 9] = 4;
    jpeg.splice(frame + 19..frame + 19, [4, 0x11, 0]);
    let text = failure_beside_a_good_one("x.jpg", &jpeg);
    assert_has(&text, &["CMYK", "convert it to RGB"]);

    let deep = image::DynamicImage::new_rgb16(2, 2);
    let text = failure_beside_a_good_one("x.png", &encoded(&deep, ImageFormat::Png));
    assert_has(&text, &["Rgb16", "expected 8 bits"]);
}

#[test]
fn alpha_is_dropped_only_where_it_says_nothing() {
    let mut image = RgbaImage::from_pixel(3, 2, Rgba([1, 2, 3, 255]));
    let folder = temporary();
    let path = folder.path().join("x.png");
    image.save(&path).unwrap();
    let (read, _) = folder::read_images(&path, None).unwrap();
    assert_eq!(bytes(&read), [1, 2, 3].repeat(6));
    image.put_pixel(2, 1, Rgba([1, 2, 3, 254]));
    let text = failure_beside_a_good_one("x.png", &encoded(&image.into(), ImageFormat::Png));
    assert_has(&text, &["alpha 254", "row 1, column 2", "background"]);
}

#[test]
fn folders_without_a_data_set_are_errors_that_name_them() {
    let folder = temporary();
    let path = folder.path();
    let selection = select("images", path);
    assert_has(
        &failure(&selection),
        &["holds no pictures", path.to_str().unwrap(), ".jpeg"],
    );
    assert_has(
        &failure(&select("images", &path.join("no"))),
        &["no: is not a folder"],
    );
    save(path.join("a/1.png"), 1, 1, [0; 3]);
    assert_has(&failure(&selection), &["1 image(s), expected at least 2"]);
    save(path.join("loose.png"), 1, 1, [0; 3]);
    assert_has(
        &failure(&selection),
        &["loose.png", "in no class's folder", "`a`"],
    );
    let many = temporary();
    for class in 0..257 {
        save(many.path().join(format!("{class}/1.png")), 1, 1, [0; 3]);
    }
    assert_has(
        &failure(&select("images", many.path())),
        &["257 folders", "at most 256"],
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_links_to_itself_is_an_error() {
    let folder = temporary();
    save(folder.path().join("a/1.png"), 1, 1, [0; 3]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    assert_has(
        &failure(&select("images", folder.path())),
        &["loop", "cannot be walked"],
    );
}

#[test]
fn images_to_put_through_a_model_are_brought_to_its_shape() {
    let folder = temporary();
    let path = folder.path();
    save(path.join("b.png"), 4, 4, [200; 3]);
    save(path.join("a/c.jpg"), 6, 9, [200; 3]);
    let (images, files) = folder::read_images(path, Some([2, 3, 1])).unwrap();
    assert_eq!((images.count, images.shape()), (2, [2, 3, 1]));
    assert_eq!(files, [path.join("a/c.jpg"), path.join("b.png")]);
    assert!(bytes(&images).iter().all(|value| value.abs_diff(200) <= 2));
    let (images, files) = folder::read_images(&path.join("b.png"), None).unwrap();
    assert_eq!((images.shape(), files.len()), ([4, 4, 3], 1));

    let array = path.join("x.npy");
    npy::write_matrix(&array, 2, 6, &[0.5; 12]).unwrap();
    let (images, files) = folder::read_images(&array, Some([1, 2, 3])).unwrap();
    assert_eq!((images.count, images.shape()), (2, [1, 2, 3]));
    assert_eq!(files, [&*array]);
    let error = message(folder::read_images(&array, Some([2, 2, 3])));
    assert_has(
        &error,
        &["x.npy", "1 × 6 × 1 = 6 values", "expected 2 × 2 × 3 = 12"],
    );
    let error = message(folder::read_images(&path.join("absent"), None));
    assert_has(&error, &["absent", "check that the file exists"]);
}

// Arrays

fn write_npy(path: &Path, descr: &str, shape: &str, elements: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = fs::File::create(path).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(header.len() as u16).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(elements).unwrap();
}

#[test]
fn arrays_are_split_and_keep_their_labels() {
    let folder = temporary();
    let (images, labels) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    // Image i is of the colour (10 i, 0, 1), its label is i.
    let pixels: Vec<u8> = (0..20).flat_map(|i| [10 * i, 0, 1]).collect();
    write_npy(&images, "|u1", "(20, 1, 1, 3)", &pixels);
    let numbers: Vec<u8> = (0..20_i64).flat_map(i64::to_le_bytes).collect();
    write_npy(&labels, "<i8", "(20,)", &numbers);
    let unlabelled = select("npy", &images);
    let labelled = Selection {
        labels: Some(labels.clone()),
        test_part: Some(0.25),
        ..unlabelled.clone()
    };
    let data = load(&labelled, 3).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (15, 5, 20)
    );
    assert_eq!(data.train.shape(), [1, 1, 3]);
    for (images, labels) in [
        (&data.train, &data.train_labels),
        (&data.test, &data.test_labels),
    ] {
        for (pixel, label) in bytes(images).chunks(3).zip(labels) {
            assert_eq!(pixel, [10 * label, 0, 1]);
        }
    }
    let data = load(&unlabelled, 3).unwrap();
    assert_eq!((data.train.count, data.test.count), (18, 2));
    assert!(!data.is_labelled());

    // The same files as a test set of their own: order is kept, the rest fits.
    let both = Selection {
        test_path: Some(images.clone()),
        test_labels: Some(labels.clone()),
        test_part: None,
        ..labelled.clone()
    };
    let data = load(&both, 3).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.test_labels[7]),
        (20, 20, 7)
    );
    write_npy(&labels, "<i8", "(19,)", &numbers[..19 * 8]);
    assert_has(&failure(&labelled), &["y.npy", "20 images but 19 labels"]);
    write_npy(&labels, "<i4", "(1,)", &300_i32.to_le_bytes());
    assert_has(&failure(&labelled), &["y.npy", "label 300", "0 to 255"]);
}

#[test]
fn idx_files_are_arrays_too_and_parts_must_fit() {
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
    let images = mnist.join("t10k-images-idx3-ubyte.gz");
    let selection = Selection {
        labels: Some(mnist.join("t10k-labels-idx1-ubyte.gz")),
        train_images: Some(100),
        ..select("npy", &images)
    };
    let data = load(&selection, 0).unwrap();
    assert_eq!(
        (data.train.count, data.test.count, data.classes),
        (100, 1000, 10)
    );
    let folder = temporary();
    let other = folder.path().join("other.npy");
    write_npy(&other, "|u1", "(1, 2, 2)", &[9; 4]);
    let mismatched = Selection {
        test_path: Some(other),
        ..select("npy", &images)
    };
    assert_has(&failure(&mismatched), &["[28, 28, 1]", "[2, 2, 1]"]);
}

#[test]
fn a_selection_that_makes_no_sense_is_refused_before_any_file_is_read() {
    let absent = PathBuf::from("/absent");
    let selection = Selection {
        test_labels: Some(absent.clone()),
        ..select("npy", &absent)
    };
    assert_has(
        &failure(&selection),
        &["data.test_labels", "data.test_path"],
    );
    let selection = Selection {
        test_path: Some(absent.clone()),
        test_part: Some(0.5),
        ..select("npy", &absent)
    };
    assert_has(
        &failure(&selection),
        &["data.test_part = 0.5", "whole test set"],
    );
    assert_has(
        &failure(&Selection::named("emnist")),
        &["emnist", "fashion-mnist"],
    );
}

// The command

struct Command {
    folder: TempDir,
}

impl Command {
    fn run(&self, arguments: &[&str]) -> std::process::Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_diabolo"))
            .current_dir(self.folder.path())
            .env("DIABOLO_DATA", self.folder.path().join("cache"))
            .args(arguments)
            .output()
            .expect("starts")
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn fails(&self, arguments: &[&str], parts: &[&str]) {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
        assert_has(&error, parts);
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
